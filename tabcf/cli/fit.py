"""`tabcf fit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.run import Run

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
    "--jobs",
    type=click.IntRange(min=1),
    help="Folds of a cross-validation at a time; by default as many as there are cores.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the fit that was broken off: that of --out, or the last one of SPEC in runs/.",
)
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    help="Processes that train one model together; the same as --set train.workers=N.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="What the fit may take of memory, such as 2GB; rows then are kept on disk.",
)
@click.option(
    "--no-cache",
    is_flag=True,
    help="Read and encode anew, and keep nothing of it for the next fit.",
)
@click.option("--quiet", is_flag=True, help="Print only where the run is.")
@click.option("--json", "style", flag_value="json", help="Print the report as JSON.")
def command(
    spec: Path,
    data: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    jobs: int | None,
    resume: bool,
    nproc: int | None,
    memory: str | None,
    no_cache: bool,
    quiet: bool,
    style: str | None,
) -> None:
    """Train what SPEC declares, test it and save the run."""
    from tabcf.cli.progress import Shown
    from tabcf.cli.session import session
    from tabcf.cli.show import show_measured
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.fit import fit
    from tabcf.run.torchrun import fit_as_one_of_several, is_one_of_several

    if nproc is not None:
        overrides = (*overrides, f"train.workers={nproc}")
    if memory is not None and is_one_of_several():
        overrides = (*overrides, f"train.memory={memory}")
    progress = None if quiet else Shown()
    run: Run | CrossValidation | None
    if is_one_of_several():
        run = fit_as_one_of_several(
            spec,
            data,
            out,
            runs=Path("runs"),
            overrides=overrides,
            plugins=session().plugins,
            progress=progress,
            resume=resume,
            cache=not no_cache,
        )
    else:
        run = fit(
            spec,
            data,
            out,
            runs="runs",
            overrides=overrides,
            plugins=session().plugins,
            progress=progress,
            jobs=jobs,
            resume=resume,
            cache=not no_cache,
            memory=memory,
        )
    if run is None:  # the first of several processes has it
        return
    if isinstance(run, CrossValidation):
        _show_folds(run, spec, quiet=quiet, style=style)
        return
    folder = run.folder
    if style == "json":
        import json

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


def _show_folds(found: CrossValidation, spec: Path, *, quiet: bool, style: str | None) -> None:
    """Print what came of a cross-validation; a fold without a run is exit status 1."""
    from tabcf.cli.show import show_folds

    if style == "json" or not quiet:
        show_folds(found, style)
    if style != "json":
        click.echo(str(found.folder))
    for fold, reason in found.failures.items():
        click.echo(f"fold {fold} failed: {reason}", err=True)
    if len(found.folds) < found.n_folds:
        click.echo(f"tabcf fit {spec} --out {found.folder} --resume fits the rest", err=True)
        click.get_current_context().exit(130 if found.is_interrupted else 1)
