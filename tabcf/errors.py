"""Everything that tabcf raises on purpose."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "DataError",
    "MissingExtraError",
    "PluginError",
    "RunError",
    "SpecError",
    "TabcfError",
    "TrainingError",
]


class TabcfError(Exception):
    """Something a user can mend; its text says where, what was expected, found, and a hint."""


class SpecError(TabcfError):
    """A spec that cannot be used; holds every problem found, each on its own line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class DataError(TabcfError):
    """Data that cannot be read, or that does not fit what was declared or trained."""


class TrainingError(TabcfError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class RunError(TabcfError):
    """A run folder that cannot be written, read or used for what was asked."""


class PluginError(TabcfError):
    """A plugin that cannot be loaded, registered or used."""


class MissingExtraError(TabcfError):
    """An optional package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; pip install 'tabcf[{extra}]'")
