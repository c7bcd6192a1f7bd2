"""`tabcf simulate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tabcf.cli.session import load_run, yaml_values
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--policy",
    "policies",
    multiple=True,
    default=("model", "popular", "random"),
    show_default=True,
    help="Who recommends, each in a world of its own; re-rankers, such as 'mmr: {of: genres}', "
    "and options of training, such as 'train: {user_weights: 0.5}', too. May be repeated.",
)
@click.option("--rounds", default=10, show_default=True, help="Rounds of a world.")
@click.option("-k", default=10, show_default=True, help="Length of the lists.")
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=(0,),
    show_default=True,
    help="Of a world; several give bands.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="SIDE.COLUMN=VALUE",
    help="A group to watch, such as item.genres=Animation or user.gender=F; may be repeated.",
)
@click.option(
    "--utility",
    type=click.Path(),
    metavar="RUN2",
    help="A run whose scores are what items are worth to users.",
)
@click.option(
    "--share",
    default=0.02,
    show_default=True,
    help="What a round may add, as a share of the first interactions.",
)
@click.option("--max-users", type=int, metavar="N", help="Only N users, drawn at random.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep what is done there, and go on from it; `tabcf report` can show it.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into a PNG or SVG."
)
@formats
def command(
    run: str,
    policies: tuple[str, ...],
    rounds: int,
    k: int,
    seeds: tuple[int, ...],
    groups: tuple[str, ...],
    utility: str | None,
    share: float,
    max_users: int | None,
    state: Path | None,
    plot: Path | None,
    style: str | None,
) -> None:
    """Simulate what becomes of users who choose from RUN's lists, of which it learns anew.

    Prints each policy's figures in the last round, means over the seeds; with --json or --csv all
    rounds of all seeds. Nothing is changed in RUN.
    """
    from tabcf.cli.show import show_frame

    loaded = load_run(run)
    other = None if utility is None else load_run(utility)
    # Users without a recommender have a world beside the policies.
    with _progress((1 + len(policies)) * len(seeds) * rounds) as on_round:
        result = loaded.simulate(
            yaml_values("--policy", policies),
            rounds=rounds,
            k=k,
            seeds=seeds,
            groups=groups,
            utility=other,
            share=share,
            state=state,
            max_users=max_users,
            on_round=on_round,
        )
    if style is not None:
        show_frame(result.rounds, style)
    else:
        last = result.rounds[result.rounds["round"] == rounds].drop(columns=["seed", "round"])
        means = last.groupby("policy", sort=False).mean().T.rename_axis("figure").reset_index()
        n = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        show_frame(means, title=f"round {rounds}, mean over {n}")
    if plot is not None:
        from tabcf.audit.plots import plot_loop

        plot_loop(result, plot)
        click.echo(str(plot), err=True)


@contextmanager
def _progress(n_rounds: int) -> Iterator[Callable[[str, int, int], None]]:
    """What is told of rounds: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda policy, seed, number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=n_rounds)

        def on_round(policy: str, seed: int, number: int) -> None:
            bar.update(task, advance=1, description=f"{policy}, seed {seed}")

        yield on_round
