"""The command line: one command a module, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from tabcf.cli.session import Session
from tabcf.errors import PluginError, TabcfError

if TYPE_CHECKING:
    from tabcf.contracts.definitions import CommandDefinition

__all__ = ["COMMANDS", "builtin_command", "cli", "main"]

# Each command with its one line in `tabcf --help`, so that help loads none of their modules.
COMMANDS = {
    "audit": "Show what lists do to groups of users and items, and hold them to gates.",
    "cache": "Show or clear what is kept of large files.",
    "compare": "Compare runs user by user on their test rows.",
    "datasets": "List, fetch and find the built-in data sets.",
    "docs": "Show a component's options, defaults and example.",
    "demo": "Fit two recommenders on MovieLens and show what they learnt.",
    "evaluate": "Measure a run on given rows.",
    "explain-spec": "Show every value of a spec and where it comes from.",
    "extend": "Add new users, items and categories to a run.",
    "fit": "Train what a spec declares.",
    "index": "Build an approximate index of a run's items.",
    "init": "Write a first spec for a data file.",
    "inspect": "Show a run's layers, biases or embeddings.",
    "learning-curve": "Measure a run for new users by how many events they bring.",
    "lr-find": "Look for a learning rate.",
    "onboard": "Ask a new user about items, or measure who asks best.",
    "plugins": "List, show, check and start plugins.",
    "predict": "Predict given rows.",
    "recommend": "List items for users.",
    "report": "Write one HTML page on a run.",
    "rollback": "Answer with an earlier version of a run.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "similar": "List the nearest items or users.",
    "simulate": "Simulate what recommending does to users over time.",
    "tune": "Try settings of a spec by their validation metric.",
    "update": "Go on training a run with new events.",
    "versions": "List the versions of a run.",
}


class _Commands(click.Group):
    """A group that imports a command's module when it is called, and asks plugins for others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({**COMMANDS, **self._of_plugins(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            return builtin_command(cmd_name)
        of_plugins = self._of_plugins(ctx)
        return _built(of_plugins[cmd_name]) if cmd_name in of_plugins else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))
        of_plugins = self._of_plugins(ctx)
        if of_plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, c.summary) for name, c in of_plugins.items()])

    def _of_plugins(self, ctx: click.Context) -> Mapping[str, CommandDefinition]:
        """The commands of plugins; nothing heavy is imported where none has any."""
        from tabcf.plugin.finding import installed_plugins, module_plugin

        given = _plugins(ctx)
        without = [name.removeprefix("no:") for name in given if name.startswith("no:")]
        plugins = installed_plugins(without=without)
        plugins += [module_plugin(name) for name in given if not name.startswith("no:")]
        if not any(plugin.mentions("tabcf_commands") for plugin in plugins):
            return {}
        from tabcf.cli.builtins import BuiltinCommands
        from tabcf.run.registry import survey_plugins

        registry, _ = survey_plugins(given, commands=BuiltinCommands())
        return {n: c for n, c in registry.commands.items() if n not in COMMANDS}


def builtin_command(name: str) -> click.Command:
    """A built-in command; imports its module."""
    command: click.Command = import_module(f"tabcf.cli.{name.replace('-', '_')}").command
    return command


def _plugins(ctx: click.Context) -> tuple[str, ...]:
    """What the options say of plugins; a command is looked up before `cli` itself is run."""
    chosen: tuple[str, ...] = ctx.params.get("plugins") or ()
    return ("no:*", *chosen) if ctx.params.get("no_plugins") else chosen


def _built(definition: CommandDefinition) -> click.Command:
    """A plugin's command; raises `PluginError` where it cannot be had."""
    try:
        command = definition.build()
    except Exception as error:
        raise PluginError(
            f"command {definition.name}: cannot be built: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(f"command {definition.name}: expected a click.Command, got {command!r}")
    return command


def _version(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        from tabcf import __version__

        click.echo(f"tabcf {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "-p",
    "plugins",
    multiple=True,
    is_eager=True,  # so that --help behind it knows of it
    metavar="MODULE",
    help="Load a Python module as a plugin; no:NAME leaves an installed plugin out.",
)
@click.option("--no-plugins", is_flag=True, is_eager=True, help="Leave all installed plugins out.")
@click.option(
    "--allow-changed-plugins",
    is_flag=True,
    help="Load runs whose plugins have changed since they were fitted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
@click.pass_context
def cli(
    ctx: click.Context,
    debug: bool,
    plugins: tuple[str, ...],
    no_plugins: bool,
    allow_changed_plugins: bool,
) -> None:
    """Recommenders and tabular models declared in one YAML file."""
    ctx.obj = Session(debug, _plugins(ctx), allow_changed_plugins)


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit status 2."""
    try:
        cli(standalone_mode=False)
    except TabcfError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(str(error), err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
