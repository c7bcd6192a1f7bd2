"""`tabcf learning-curve`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data", required=False)
@click.option("--counts", default="0,1,2,5,10,20", show_default=True, help="Events given, by step.")
@click.option(
    "--entity",
    type=click.Choice(["user", "item"]),
    default="user",
    show_default=True,
    help="Who is new.",
)
@click.option(
    "--by",
    default="timestamp",
    show_default=True,
    metavar="COLUMN",
    help="What says which events are the first.",
)
@click.option("--as-they-come", is_flag=True, help="Take each one's rows in the order of DATA.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it into a PNG or SVG.")
@formats
def command(
    run: str,
    data: str | None,
    counts: str,
    entity: str,
    by: str,
    as_they_come: bool,
    plot: Path | None,
    style: str | None,
) -> None:
    """Show what RUN is worth for new users by how many of their events it is told.

    New are those of DATA, by default of the data that RUN's spec names, without training events:
    `split: {cold: user}` keeps some.
    """
    from tabcf.cli.show import show_frame
    from tabcf.run.prepare import read_rows

    try:
        at = [int(count) for count in counts.split(",")]
    except ValueError:
        raise click.UsageError(
            f"--counts: expected numbers such as 0,1,5, got '{counts}'"
        ) from None
    loaded = load_run(run)
    named = loaded.spec.data
    if data is None and named is None:
        raise click.UsageError("give DATA: the spec of this run names none")
    events = data if named is None or data is not None else read_rows(named, None, where="data")
    side: Literal["user", "item"] = "item" if entity == "item" else "user"
    frame = loaded.learning_curve(events, entity=side, at=at, by=None if as_they_come else by)
    show_frame(frame, style)
    if plot is not None:
        from tabcf.evaluation.plots import plot_learning_curve

        plot_learning_curve(frame, plot)
        click.echo(str(plot), err=True)
