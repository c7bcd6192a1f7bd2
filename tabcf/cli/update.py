"""`tabcf update`."""

from __future__ import annotations

import click

from tabcf.cli.growth import growth_options, read_tables, show_growth
from tabcf.cli.session import load_run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data")
@click.option(
    "--replay",
    type=float,
    help="Share of earlier events to learn from again; 0.5 by default.",
)
@click.option("--epochs", type=int, help="Passes; a fifth of the spec's by default.")
@click.option("--learning-rate", type=float, help="Three tenths of the spec's by default.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@growth_options
def command(
    run: str,
    data: str,
    replay: float | None,
    epochs: int | None,
    learning_rate: float | None,
    quiet: bool,
    tables: tuple[str, ...],
    style: str | None,
) -> None:
    """Extend RUN by DATA, new events, and go on training with them.

    A sample of earlier events is learnt from again; a solved model is solved anew from all events.
    RUN gets a new version, which is used from now on; `tabcf rollback RUN` goes back.
    """
    from tabcf.cli.progress import Shown

    growth = load_run(run).update(
        data,
        tables=read_tables(tables),
        replay=replay,
        epochs=epochs,
        learning_rate=learning_rate,
        progress=None if quiet else Shown(),
    )
    show_growth(growth, style)
