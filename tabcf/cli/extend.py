"""`tabcf extend`."""

from __future__ import annotations

import click

from tabcf.cli.growth import growth_options, read_tables, show_growth
from tabcf.cli.session import load_run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data", required=False)
@growth_options
def command(run: str, data: str | None, tables: tuple[str, ...], style: str | None) -> None:
    """Add the users, items and categories of DATA that RUN does not know.

    Those with events get a row found from them, nothing is trained, and every prediction for what
    was trained stays as it is. RUN gets a new version, which is used from now on.
    """
    given = read_tables(tables)
    if data is None and not given:
        raise click.UsageError("expected DATA, --table, or both")
    show_growth(load_run(run).extend(data, tables=given), style)
