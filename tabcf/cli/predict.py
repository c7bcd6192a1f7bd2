"""`tabcf predict`."""

from __future__ import annotations

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data")
@click.option("--interactions", metavar="FILE", help="Events of new users, who are found by them.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first rows of DATA.")
@formats
def command(
    run: str, data: str, interactions: str | None, limit: int | None, style: str | None
) -> None:
    """Print the rows of DATA with RUN's prediction as the last column."""
    from tabcf.cli.show import show_frame

    loaded = load_run(run)
    frame = (loaded.predict if interactions is None else loaded.fold_in(interactions).predict)(data)
    show_frame(frame if limit is None else frame.head(limit), style)
