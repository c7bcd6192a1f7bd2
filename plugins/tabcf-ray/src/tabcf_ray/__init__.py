"""Ray for tabcf: the command `tabcf ray-fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabcf.contracts.definitions import CommandDefinition
from tabcf.plugin.hooks import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["COMMAND", "tabcf_commands"]


def _command() -> click.Command:
    from tabcf_ray.command import command

    return command


COMMAND = CommandDefinition(
    name="ray-fit", summary="Train what a spec declares with the workers of Ray.", build=_command
)


@hookimpl
def tabcf_commands() -> Sequence[CommandDefinition]:
    """The one command."""
    return [COMMAND]
