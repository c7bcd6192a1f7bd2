"""`tabcf inspect`."""

from __future__ import annotations

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option("--biases", metavar="ENTITY", help="Biases of items or users, highest first.")
@click.option("--embeddings", metavar="ENTITY", help="Trained vectors of items or users.")
@formats
def command(run: str, biases: str | None, embeddings: str | None, style: str | None) -> None:
    """Show RUN's layers, or biases or embeddings of one of its entities."""
    from tabcf.cli.show import show_frame

    loaded = load_run(run)
    if biases is not None:
        show_frame(loaded.biases(biases).reset_index(), style)
    elif embeddings is not None:
        show_frame(loaded.embeddings(embeddings).reset_index(), style)
    else:
        summary = loaded.summary()
        show_frame(summary.frame, style)
        if style is None:
            click.echo(f"{summary.n_parameters:,} parameters")
