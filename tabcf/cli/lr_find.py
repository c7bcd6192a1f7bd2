"""`tabcf lr-find`."""

from __future__ import annotations

from pathlib import Path

import click

from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("spec", type=click.Path())
@click.option("--data", help="Events in place of the spec's.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the spec."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve into a PNG or SVG.")
@formats
def command(
    spec: str, data: str | None, overrides: tuple[str, ...], plot: Path | None, style: str | None
) -> None:
    """Raise the learning rate step by step and print the loss at each; suggests one."""
    import pandas as pd

    from tabcf.cli.session import session
    from tabcf.cli.show import show_frame
    from tabcf.inspection.plots import plot_learning_rates
    from tabcf.run.lr_find import lr_find

    found = lr_find(spec, data, overrides=overrides, plugins=session().plugins)
    frame = pd.DataFrame({"learning_rate": found.learning_rates, "loss": found.losses})
    if plot is not None:
        plot_learning_rates(found, plot)
        click.echo(str(plot), err=True)
    if style is not None:
        show_frame(frame, style)
    click.echo(f"suggested learning rate: {found.suggestion:.1e}", err=style is not None)
