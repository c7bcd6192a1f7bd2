"""`tabcf inspect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

if TYPE_CHECKING:
    import pandas as pd

    from tabcf.run.run import Run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option("--biases", metavar="ENTITY", help="Biases of items or users, highest first.")
@click.option("--gaps", metavar="ENTITY", help="Where biases and mean targets disagree, and why.")
@click.option("--embeddings", metavar="ENTITY", help="Trained vectors of items or users.")
@click.option("--factors", metavar="ENTITY", help="What their vectors differ in, and who most.")
@click.option("--map", "map_of", metavar="ENTITY", help="Places on a plane, like near like.")
@click.option("--norms", metavar="ENTITY", help="Lengths of vectors beside numbers of events.")
@click.option("--neighbours", metavar="ID", help="The items nearest to one, by three measures.")
@click.option("--crosstab", metavar="N", type=int, help="The N busiest users by as many items.")
@click.option("--why", nargs=2, metavar="USER ITEM", help="What one score is made of.")
@click.option("--training", is_flag=True, help="Losses, metrics and learning rate by epoch.")
@click.option("--weights", is_flag=True, help="Sizes of embeddings, and what decay would leave.")
@click.option("--calibration", metavar="DATA", help="Predicted against actual on held rows.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it into a PNG or SVG.")
@formats
def command(run: str, plot: Path | None, style: str | None, **asked: object) -> None:
    """Show RUN's layers, or one of its sides at a time."""
    from tabcf.cli.show import show_frame

    loaded = load_run(run)
    chosen = {name: value for name, value in asked.items() if value not in (None, False, ())}
    if len(chosen) > 1:
        raise click.UsageError(f"one at a time, got: {', '.join(f'--{name}' for name in chosen)}")
    if not chosen:
        summary = loaded.summary()
        show_frame(summary.frame, style)
        if style is None:
            click.echo(f"{summary.n_parameters:,} parameters")
            for line in loaded.indices:
                click.echo(line)
        return
    ((name, value),) = chosen.items()
    found = _VIEWS[name](loaded, value)
    if plot is not None:
        if name not in _PICTURES:
            raise click.UsageError(f"--plot: no picture; there is one of: {', '.join(_PICTURES)}")
        from tabcf.inspection import plots

        draw: Callable[[Any, Path], None] = getattr(plots, _PICTURES[name])
        draw(found, plot)
        click.echo(str(plot), err=True)
    if name in _TABLES and style is None:
        click.echo(str(found))
        return
    frame: pd.DataFrame = _TABLES[name](found) if name in _TABLES else found
    show_frame(frame if frame.index.name is None else frame.reset_index(), style)


_VIEWS: dict[str, Callable[[Run, Any], Any]] = {
    "biases": lambda run, entity: run.biases(entity),
    "gaps": lambda run, entity: run.inspection.bias_gaps(entity),
    "embeddings": lambda run, entity: run.embeddings(entity),
    "factors": lambda run, entity: run.inspection.factors(entity),
    "map_of": lambda run, entity: run.inspection.map(entity),
    "norms": lambda run, entity: run.inspection.norms(entity),
    "neighbours": lambda run, id: run.inspection.neighbours("item", id, is_text=True),
    "crosstab": lambda run, n: run.inspection.crosstab(n, n),
    "why": lambda run, pair: run.inspection.why(*pair, is_text=True),
    "training": lambda run, _: run.inspection.epochs(),
    "weights": lambda run, _: run.inspection.weights(),
    "calibration": lambda run, data: run.inspection.calibration(data),
}
# What is more than a frame prints itself; for pipes, the frame within it.
_TABLES: dict[str, Callable[[Any], pd.DataFrame]] = {
    "factors": lambda found: found.ends,
    "crosstab": lambda found: found.values,
    "why": lambda found: found.terms,
}
_PICTURES = {
    "gaps": "plot_bias_gaps",
    "map_of": "plot_map",
    "norms": "plot_norms",
    "crosstab": "plot_crosstab",
    "training": "plot_training",
    "calibration": "plot_calibration",
}
