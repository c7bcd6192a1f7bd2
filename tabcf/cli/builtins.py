"""The built-in commands, through the same hook as a plugin's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from tabcf.cli import COMMANDS, builtin_command
from tabcf.contracts.definitions import CommandDefinition
from tabcf.plugin.hooks import hookimpl

__all__ = ["BuiltinCommands"]


class BuiltinCommands:
    """The built-in plugin of commands."""

    @hookimpl
    def tabcf_commands(self) -> Iterable[CommandDefinition]:
        return [
            CommandDefinition(name=name, summary=summary, build=partial(builtin_command, name))
            for name, summary in COMMANDS.items()
        ]
