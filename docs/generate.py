"""The reference pages, made from the code at each build of the documentation; a mkdocs hook."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

__all__ = ["on_files"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/spec.md: every field of a spec and every registered component."""
    try:
        from tabcf.run.builtins import builtin_registry
        from tabcf.spec.reference import reference_page
    except ImportError as error:
        raise PluginError(
            f"reference/spec.md cannot be made: {error}; it needs "
            "tabcf.run.builtins.builtin_registry and tabcf.spec.reference.reference_page"
        ) from error
    page = reference_page(builtin_registry())
    files.append(File.generated(config, "reference/spec.md", content=page))
    return files
