"""`tabcf evaluate`."""

from __future__ import annotations

import click

from tabcf.cli.growth import show_growth
from tabcf.cli.session import load_tested
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data", required=False)
@click.option("--groups", is_flag=True, help="Show trained and cold users and items apart alone.")
@click.option("--no-retrieve", is_flag=True, help="Leave out RUN's own first stage.")
@formats
def command(run: str, data: str | None, groups: bool, no_retrieve: bool, style: str | None) -> None:
    """Measure RUN on DATA; without DATA, show what was measured when it was trained.

    Of a cross-validation, each fold's run with mean and standard deviation.
    """
    from tabcf.cli.show import show_folds, show_frame, show_measured
    from tabcf.data.sources import read_source
    from tabcf.evaluation.users import N_RELEVANT
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.in_blocks import is_large

    for option, is_given in (("--groups", groups), ("--no-retrieve", no_retrieve)):
        if is_given and data is None:
            raise click.UsageError(f"{option} needs DATA")
    loaded = load_tested(run)
    if isinstance(loaded, CrossValidation):
        if groups:
            raise click.UsageError("--groups is of one run; give one of its folds")
        if data is None:
            show_folds(loaded, style)
        else:
            table = loaded.evaluate(data, retrieve=not no_retrieve)
            show_frame(table.rename_axis("").reset_index(), style)
        return
    if data is not None:
        # A large file is left to be read in blocks.
        source = data if is_large(data) else read_source(data)
        if groups:
            show_frame(loaded.evaluate_groups(source, retrieve=not no_retrieve), style)
        else:
            found = loaded.evaluate(source, retrieve=not no_retrieve)
            label = loaded.spec.model.name if no_retrieve else loaded.label
            show_measured({label: found}, {label: found.groups}, style)
        if any(metric.definition.is_ranking for metric in loaded.metrics):
            _state_users(*loaded.count_users(source))
        return
    if loaded.growth is not None:
        # Test rows were kept from the fit; what it learnt since was measured as it came.
        show_growth(loaded.growth, style)
        return
    show_measured(
        {
            **{f"{name} (test)": values for name, values in loaded.test_table.items()},
            f"{loaded.label} (valid, fitted on train)": loaded.report.valid,
        },
        {f"{loaded.label} (test)": loaded.test_groups},
        style,
    )
    if loaded.users is not None and N_RELEVANT in loaded.users:
        _state_users(len(loaded.users), int((loaded.users[N_RELEVANT] == 0).sum()))


def _state_users(n_users: int, n_without: int) -> None:
    """Say whom ranking metrics leave out, apart from the table."""
    click.echo(
        f"{n_users:,} users, {n_without:,} of them without held-out positives: ranking metrics "
        f"are means over the other {n_users - n_without:,}",
        err=True,
    )
