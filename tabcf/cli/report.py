"""`tabcf report`."""

from __future__ import annotations

from pathlib import Path

import click

from tabcf.cli.session import load_run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data", required=False)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
def command(run: str, data: str | None, out: Path) -> None:
    """Write one HTML page on RUN; DATA, held rows, adds calibration and groups."""
    from tabcf.report.page import write_report

    click.echo(str(write_report(load_run(run), out, data=data)))
