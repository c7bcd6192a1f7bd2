"""`tabcf compare`."""

from __future__ import annotations

import click

from tabcf.cli.session import load_tested
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(), metavar="RUN RUN...")
@click.option("--seed", default=0, show_default=True, help="Of the resamples of users.")
@formats
def command(runs: tuple[str, ...], seed: int, style: str | None) -> None:
    """Compare the test results of RUNs with the first one's, user by user.

    Shows the mean over users of each metric in both runs, the mean of their difference, and
    between which numbers 95 % of 10,000 bootstrap resamples of the users have it. The runs must
    have the same test rows. Cross-validations are compared over all their folds together.
    """
    from tabcf.cli.show import show_frame
    from tabcf.run.compare import compare_runs

    found = compare_runs([load_tested(run) for run in runs], names=runs, seed=seed)
    show_frame(found, style, title=f"less {runs[0]}, the first; means over users")
