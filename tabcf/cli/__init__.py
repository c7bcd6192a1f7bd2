"""The command line: one command a module, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from tabcf.errors import TabcfError

__all__ = ["cli", "main"]

# Each command with its one line in `tabcf --help`, so that help loads none of their modules.
_COMMANDS = {
    "datasets": "List, fetch and find the built-in data sets.",
    "demo": "Fit two recommenders on MovieLens and show what they learnt.",
    "evaluate": "Measure a run on given rows.",
    "explain-spec": "Show every value of a spec and where it comes from.",
    "fit": "Train what a spec declares.",
    "init": "Write a first spec for a data file.",
    "inspect": "Show a run's layers, biases or embeddings.",
    "lr-find": "Look for a learning rate.",
    "predict": "Predict given rows.",
    "recommend": "List items for users.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "similar": "List the nearest items or users.",
}


class _Commands(click.Group):
    """A group that imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"tabcf.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


def _version(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        from tabcf import __version__

        click.echo(f"tabcf {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Recommenders and tabular models declared in one YAML file."""
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit status 2."""
    try:
        cli(standalone_mode=False, obj={})
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
