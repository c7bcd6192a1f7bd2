"""What `tabcf extend` and `tabcf update` share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tabcf.run.growth import Growth

__all__ = ["growth_options", "read_tables", "show_growth"]


def growth_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--table` and `--json` to a command, as the arguments `tables` and `style`."""
    command = click.option("--json", "style", flag_value="json", help="Print JSON.")(command)
    return click.option(
        "--table",
        "tables",
        multiple=True,
        metavar="ENTITY=FILE",
        help="Attributes of new users or items, such as item=new-films.csv.",
    )(command)


def read_tables(given: Iterable[str]) -> dict[str, Any]:
    """Tables by their entities."""
    from tabcf.data.sources import read_source
    from tabcf.errors import DataError

    found = {}
    for text in given:
        entity, sign, path = text.partition("=")
        if not sign or not entity or not path:
            raise DataError(f"--table: expected ENTITY=FILE such as item=films.csv, got {text!r}")
        found[entity] = read_source(path, where="--table")
    return found


def show_growth(growth: Growth, style: str | None) -> None:
    """Print what came of it."""
    click.echo(json.dumps(growth.to_json(), indent=1) if style == "json" else str(growth))
