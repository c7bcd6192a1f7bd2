"""`tabcf plugins`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tabcf.run.registry import PluginStatus

__all__ = ["command"]


@click.group()
def command() -> None:
    """List, show, check and start plugins."""


@command.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def list_plugins(is_json: bool) -> None:
    """List the plugins that are installed or named with -p, broken ones too."""
    import json

    statuses = _statuses()
    if is_json:
        click.echo(json.dumps([_record(status) for status in statuses], indent=1))
        return
    if not statuses:
        click.echo("no plugins; start one with: tabcf plugins new NAME")
        return
    import pandas as pd

    from tabcf.cli.show import show_frame

    rows = [
        {
            "name": status.plugin.name,
            "version": status.plugin.version,
            "origin": _origin(status),
            "adds": ", ".join(status.adds) or "nothing",
            "status": "ok" if status.error is None else "broken",
        }
        for status in statuses
    ]
    show_frame(pd.DataFrame(rows))
    for status in statuses:
        if status.error is not None:
            click.echo(status.error, err=True)


@command.command()
@click.argument("name")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def show(name: str, is_json: bool) -> None:
    """Show what the plugin NAME is and what it adds."""
    import json

    from tabcf.run.plugins import find_plugin

    status = find_plugin(name, _statuses())
    record = _record(status)
    if is_json:
        click.echo(json.dumps(record, indent=1))
        return
    for key, value in record.items():
        if key == "adds":
            click.echo("adds:")
            for part in value or ["nothing"]:
                click.echo(f"  {part}")
        elif value is not None:
            click.echo(f"{key}: {value}")


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
def check(names: tuple[str, ...]) -> None:
    """Check plugins by name, or YAML plugins by file; all that are installed by default."""
    from tabcf.cli.builtins import BuiltinCommands
    from tabcf.cli.session import session
    from tabcf.run.plugins import plugin_problems

    chosen = names or tuple(status.plugin.name for status in _statuses())
    problems = []
    for name in chosen:
        found = plugin_problems(name, session().plugins, commands=BuiltinCommands())
        click.echo(f"{name}: {'ok' if not found else f'{len(found)} to mend'}")
        problems += found
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(2)


@command.command()
@click.argument("name")
@click.option("--yaml", "is_yaml", is_flag=True, help="A plugin of YAML alone.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder in which the project's folder is written; the current one by default.",
)
def new(name: str, is_yaml: bool, out: Path) -> None:
    """Write the project of a new plugin NAME, with tests that pass."""
    from tabcf.plugin.scaffold import write_project

    for path in write_project(out, name, is_yaml=is_yaml):
        click.echo(str(path))


def _statuses() -> list[PluginStatus]:
    from tabcf.cli.builtins import BuiltinCommands
    from tabcf.cli.session import session
    from tabcf.run.plugins import checked
    from tabcf.run.registry import survey_plugins

    registry, statuses = survey_plugins(session().plugins, commands=BuiltinCommands())
    return [checked(status, registry) for status in statuses]


def _origin(status: PluginStatus) -> str:
    plugin = status.plugin
    return f"package {plugin.distribution}" if plugin.origin == "installed" else plugin.origin


def _record(status: PluginStatus) -> dict[str, Any]:
    plugin = status.plugin
    return {
        "name": plugin.name,
        "version": plugin.version,
        "origin": _origin(status),
        "file": None if plugin.path is None else str(plugin.path),
        "module": plugin.target or None,
        "sha256": None if status.error is not None else plugin.content_hash(),
        "adds": list(status.adds),
        "status": "ok" if status.error is None else "broken",
        "error": status.error,
    }
