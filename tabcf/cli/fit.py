"""`tabcf fit`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--data", help="Events in place of the spec's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run; runs/NAME-N by default. Never overwritten.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the spec, such as train.epochs=3.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the fit that was broken off: that of --out, or the last one of SPEC in runs/.",
)
@click.option("--quiet", is_flag=True, help="Print only where the run is.")
@click.option("--json", "style", flag_value="json", help="Print the report as JSON.")
def command(
    spec: Path,
    data: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    quiet: bool,
    style: str | None,
) -> None:
    """Train what SPEC declares, test it and save the run."""
    import json

    from tabcf.cli.progress import Shown
    from tabcf.cli.session import session
    from tabcf.cli.show import show_measured
    from tabcf.run.fit import fit

    run = fit(
        spec,
        data,
        out,
        runs="runs",
        overrides=overrides,
        plugins=session().plugins,
        progress=None if quiet else Shown(),
        resume=resume,
    )
    folder = run.folder
    if style == "json":
        click.echo(json.dumps({"folder": str(folder), **run.report.to_json()}, indent=1))
        return
    if not quiet:
        if run.report.is_interrupted:
            click.echo("interrupted; the run holds the weights reached", err=True)
        if run.report.test:
            click.echo(
                f"test, {run.report.n_rows['test']:,} rows; fitted on "
                f"{run.report.fitted_on}, {run.report.cpu_seconds:.1f} CPU-s"
            )
            show_measured(run.test_table, {run.label: run.test_groups}, None)
    click.echo(str(folder))
