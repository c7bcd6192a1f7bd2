"""`tabcf similar`."""

from __future__ import annotations

from typing import Any

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option("--item", help="An item's id or title.")
@click.option("--user", help="A user's id.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--metric",
    type=click.Choice(["cosine", "dot", "euclidean"]),
    default="cosine",
    show_default=True,
)
@formats
def command(
    run: str, item: str | None, user: str | None, k: int, metric: Any, style: str | None
) -> None:
    """List what is nearest to an item or a user by RUN's trained vectors."""
    from tabcf.cli.show import show_frame
    from tabcf.recommend.neighbours import similar

    if (item is None) == (user is None):
        raise click.UsageError("give either --item or --user")
    entity, id = ("item", item) if item is not None else ("user", user)
    trained = load_run(run).trained
    show_frame(similar(trained, entity, id, k, metric=metric, is_text=True), style)
