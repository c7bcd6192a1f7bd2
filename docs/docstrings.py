"""How docstrings are read for the reference: `Example:` as `Examples:`, a `Shape:` as a list."""

from __future__ import annotations

from typing import Any

import griffe

__all__ = ["DocstringSections"]


class DocstringSections(griffe.Extension):
    """Show an `Example:` as code, and each line of a `Shape:` as an item."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one object's docstring before its sections are told apart."""
        if obj.docstring is None:
            return
        lines, in_shape = [], False
        for line in obj.docstring.value.split("\n"):
            if line.strip() in ("Example:", "Shape:"):
                in_shape = line.strip() == "Shape:"
                lines.append(line.replace("Example:", "Examples:"))
            elif in_shape and line.startswith("    ") and line[4:5] != " ":
                lines.append(f"    - {line.strip()}")
            elif in_shape and line.startswith("     "):
                lines.append(f"      {line.strip()}")
            else:
                in_shape = in_shape and not line.strip()
                lines.append(line)
        obj.docstring.value = "\n".join(lines)
