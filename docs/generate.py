"""The reference pages, made from the code at each build of the documentation; a mkdocs hook."""

from __future__ import annotations

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from tabcf.cli import COMMANDS, builtin_command, cli

__all__ = ["on_files"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/spec.md, every field and component of a spec, and reference/cli.md."""
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
    files.append(File.generated(config, "reference/cli.md", content=_commands_page()))
    return files


def _commands_page() -> str:
    """The help of each built-in command, as a terminal of 100 columns shows it."""
    parts = ["# Command line", "Plugins add further commands; `tabcf --help` lists them."]
    main = click.Context(cli, info_name="tabcf")
    for name in COMMANDS:
        parts += [f"## tabcf {name}", *_help(name, builtin_command(name), main)]
    return "\n\n".join(parts) + "\n"


def _help(name: str, command: click.Command, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    shown = [f"```text\n{command.get_help(context)}\n```"]
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            found = command.get_command(context, part)
            if found is not None:
                shown += _help(part, found, context)
    return shown
