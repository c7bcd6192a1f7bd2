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
@click.option(
    "--distribution", is_flag=True, help="Also the likeliest level and each level's probability."
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Also the ends of the central interval that holds this share, such as 0.9.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Write a .csv or .parquet file, in blocks of rows, in place of printing.",
)
@formats
def command(
    run: str,
    data: str,
    interactions: str | None,
    limit: int | None,
    distribution: bool,
    interval: float | None,
    out: str | None,
    style: str | None,
) -> None:
    """Print the rows of DATA with RUN's prediction as the last column.

    With --out DATA may be larger than memory.
    """
    from tabcf.cli.show import show_frame

    loaded = load_run(run)
    if out is not None:
        if interactions is not None or limit is not None or style is not None:
            raise click.UsageError(
                "--out does not go with --interactions, --limit, --json and --csv"
            )
        n = loaded.predict_to(out, data, distribution=distribution, interval=interval)
        click.echo(f"{n:,} rows in {out}")
        return
    if interactions is None:
        frame = loaded.predict(data, distribution=distribution, interval=interval)
    elif distribution or interval is not None:
        raise click.UsageError("--distribution and --interval do not go with --interactions")
    else:
        frame = loaded.fold_in(interactions).predict(data)
    show_frame(frame if limit is None else frame.head(limit), style)
