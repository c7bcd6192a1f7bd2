"""Regular expressions by RE2, whose time is linear in the text: a stranger's pattern cannot hang.

RE2 comes with pyarrow. Its syntax is Python's but for look-around and backreferences, which it
refuses. Here is no pandas, so that a pattern can be checked while a spec is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["check_pattern", "extracted"]


def check_pattern(pattern: str, group: int) -> None:
    """Raise `ValueError` unless RE2 takes the pattern and it has that group."""
    if r"\Q" in pattern.replace(r"\\", ""):
        raise ValueError(r"\Q is not supported; put a backslash before each special character")
    # A null, since any other value would make pyarrow import pandas.
    text = pa.nulls(1, pa.string())
    try:
        pc.match_substring_regex(text, pattern=pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise ValueError(
            f"expected a regular expression as RE2 takes them, got {pattern!r}: {reason}; "
            "look-around and backreferences are not supported"
        ) from None
    try:
        _found(text, pattern, group)
    except pa.ArrowInvalid:
        raise ValueError(
            f"{pattern!r} has no group {group}; put the part to keep in parentheses, or keep the "
            "whole match with `group: 0`"
        ) from None


def extracted(texts: Sequence[str], pattern: str, group: int) -> list[str | None]:
    r"""What a group of the first match in each text holds; None where that is nothing.

    Example:
        >>> extracted(["Heat (1995)", "Heat"], r"\((\d{4})\)$", 1)
        ['1995', None]
    """
    array = pa.array(texts, pa.string())
    is_match: list[bool] = pc.match_substring_regex(array, pattern=pattern).to_pylist()
    found: list[str] = _found(array, pattern, group).to_pylist()
    return [
        text if matches and text else None for text, matches in zip(found, is_match, strict=True)
    ]


def _found(texts: pa.Array, pattern: str, group: int) -> pa.Array:
    r"""Each text replaced by the group, where the pattern is found.

    RE2's replacements go up to \9 and the whole match takes \1, so that there are 8 groups.
    """
    whole = f"^(?s:.*?)({pattern})(?s:.*)$"
    return pc.replace_substring_regex(texts, pattern=whole, replacement=f"\\{group + 1}")
