"""`tabcf datasets`."""

from __future__ import annotations

import click

from tabcf.cli.show import formats

__all__ = ["command"]


@click.group("datasets")
def command() -> None:
    """List, fetch and find the built-in data sets."""


@command.command("list")
@formats
def list_(style: str | None) -> None:
    """List all data sets with their tables and licences."""
    import pandas as pd

    from tabcf.cli.show import show_frame
    from tabcf.data import datasets

    rows = []
    for name in datasets.names():
        info = datasets.describe(name)
        rows.append(
            {
                "name": name,
                "tables": ", ".join(table.name for table in info.tables),
                "rows": max(table.n_rows for table in info.tables),
                "fetched": "yes" if datasets.is_cached(name) else "no",
                "license": info.license,
            }
        )
    show_frame(pd.DataFrame(rows), style)


@command.command()
@click.argument("name")
def get(name: str) -> None:
    """Fetch a data set and print its folder."""
    from tabcf.data import datasets

    info = datasets.describe(name)
    click.echo(f"{info.title}. Licence: {info.license}", err=True)
    click.echo(str(datasets.fetch(name)))


@command.command()
@click.argument("name")
def path(name: str) -> None:
    """Print a data set's folder, fetching it the first time."""
    from tabcf.data import datasets

    click.echo(str(datasets.fetch(name)))
