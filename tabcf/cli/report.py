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
@click.option(
    "--simulation",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What `tabcf simulate RUN --state FILE` found.",
)
def command(run: str, data: str | None, out: Path, simulation: Path | None) -> None:
    """Write one HTML page on RUN; DATA, held rows, adds calibration and accuracy by group."""
    from tabcf.audit.result import LoopResult
    from tabcf.report.page import write_report

    found = None if simulation is None else LoopResult.read(simulation)
    click.echo(str(write_report(load_run(run), out, data=data, simulation=found)))
