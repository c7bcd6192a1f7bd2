"""`tabcf tune`."""

from __future__ import annotations

from pathlib import Path

import click

from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path), required=False)
@click.option("--data", help="Events in place of the spec's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the search; runs/NAME-tune-N by default. Never overwritten.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the spec, such as train.batch_size=1024.",
)
@click.option("--trials", type=click.IntRange(min=1), help="Settings to try; tune.trials.")
@click.option("--time", "limit", help="When to stop, such as 10min; tune.time.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Trials at a time.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the search of --out, or with the last one of SPEC in runs/.",
)
@click.option(
    "--show", type=click.Path(path_type=Path), metavar="FOLDER", help="Show a search's trials."
)
@click.option("--quiet", is_flag=True, help="Print only where the search is.")
@formats
def command(
    spec: Path | None,
    data: str | None,
    out: Path | None,
    overrides: tuple[str, ...],
    trials: int | None,
    limit: str | None,
    jobs: int,
    resume: bool,
    show: Path | None,
    quiet: bool,
    style: str | None,
) -> None:
    """Try settings of SPEC by their validation metric, then fit the best one and test it.

    What is tried is in SPEC under `tune`, or what suits its model. The folder of the search has
    all trials in trials.csv, the spec that was found in best.yaml, and its run.
    """
    if (spec is None) == (show is None):
        raise click.UsageError("expected SPEC, or --show FOLDER")
    from tabcf.cli.progress import Shown
    from tabcf.cli.session import session
    from tabcf.cli.show import show_frame, show_metrics

    if show is not None:
        from tabcf.tuning.files import read_trials

        show_frame(read_trials(show), style)
        return
    from tabcf.tuning.search import tune

    assert spec is not None
    limits = [("trials", trials), ("time", limit)]
    found = tune(
        spec,
        data,
        out,
        runs="runs",
        overrides=[*overrides, *(f"tune.{k}={v}" for k, v in limits if v is not None)],
        plugins=session().plugins,
        progress=None if quiet else Shown(),
        jobs=jobs,
        resume=resume,
    )
    if style is not None or not quiet:
        show_frame(found.trials, style)
    if style is None and not quiet:
        setting = "  ".join(f"{path} {value}" for path, value in found.best.items())
        value = f"valid {found.metric} {found.best_value:.4f}"
        click.echo(f"best: trial {found.best_trial}, {value}  {setting}")
        if found.run is not None and found.run.report.test:
            click.echo(
                f"test, {found.run.report.n_rows['test']:,} rows; fitted on "
                f"{found.run.report.fitted_on}"
            )
            show_metrics(found.run.test_table)
    if style is None:
        click.echo(str(found.folder))
    if found.is_interrupted:
        click.echo(f"tabcf tune {spec} --out {found.folder} --resume goes on", err=True)
        click.get_current_context().exit(130)
