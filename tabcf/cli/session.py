"""What the options before a command say, for the command: which plugins, and how strict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.run import Run

__all__ = ["Session", "load_run", "load_tested", "session", "yaml_values"]


@dataclass(frozen=True, slots=True)
class Session:
    """The options of `tabcf` itself.

    Attributes:
        debug: Whether an error shows its traceback.
        plugins: Modules to load, and `no:NAME` for those to leave out.
        allow_changed: Whether a run may use plugins that have changed since its fit.
    """

    debug: bool = False
    plugins: tuple[str, ...] = ()
    allow_changed: bool = False


def session() -> Session:
    """The options of the command line that is being run."""
    return click.get_current_context().find_object(Session) or Session()


def load_run(folder: str) -> Run:
    """The run in a folder, with the command line's plugins."""
    from tabcf.run.folder import load

    options = session()
    return load(folder, plugins=options.plugins, allow_changed_plugins=options.allow_changed)


def load_tested(folder: str) -> Run | CrossValidation:
    """The run in a folder, or all runs of a cross-validation's folder."""
    from tabcf.run.cross_validation import CrossValidation, is_cross_validation

    if not is_cross_validation(folder):
        return load_run(folder)
    options = session()
    return CrossValidation.load(
        folder, plugins=options.plugins, allow_changed_plugins=options.allow_changed
    )


def yaml_values(option: str, texts: Iterable[str]) -> list[Any]:
    """What is written in YAML behind an option that may be given several times.

    Raises:
        SpecError: It is no YAML.
    """
    from tabcf.spec.document import parse_document

    return [parse_document(text, option).tree for text in texts]
