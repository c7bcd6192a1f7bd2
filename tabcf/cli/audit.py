"""`tabcf audit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabcf.cli.session import load_run, yaml_values
from tabcf.cli.show import formats

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="SIDE.COLUMN[=VALUE]",
    help="Such as user.occupation or item.genres=War; by default all of few values.",
)
@click.option("--find-groups", is_flag=True, help="Look for groups of heavy users too.")
@click.option("--min-share", default=0.01, show_default=True, help="Smallest share of the events.")
@click.option("--data", metavar="DATA", help="Rows kept from training, for accuracy.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--rerank", multiple=True, metavar="NAME", help="Audit these re-rankers' lists.")
@click.option("--no-rerank", is_flag=True, help="Leave out RUN's own re-rankers.")
@click.option("--gate", "gates", multiple=True, metavar="CONDITION", help="'gini < 0.9': else 1.")
@click.option(
    "--compare",
    multiple=True,
    metavar="NAME",
    help="Show re-rankers beside the model's own lists; several allowed.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the comparison: PNG or SVG.")
@formats
def command(
    run: str,
    groups: tuple[str, ...],
    find_groups: bool,
    min_share: float,
    data: str | None,
    k: int,
    rerank: tuple[str, ...],
    no_rerank: bool,
    gates: tuple[str, ...],
    compare: tuple[str, ...],
    plot: Path | None,
    style: str | None,
) -> None:
    """Show what RUN's lists do to groups of users and items, beside what people had.

    With --gate, such as 'amplification(all) < 1.2', the exit status is 1 and a line says why if the
    condition does not hold; for `all` it has to hold for every group.
    """
    from tabcf.audit.gates import failures, parse_gate
    from tabcf.cli.show import show_frame

    if compare and (gates or rerank or no_rerank):
        raise click.UsageError("--compare goes without --gate, --rerank and --no-rerank")
    if plot is not None and not (compare and data):
        raise click.UsageError("--plot needs --compare and --data")
    parsed = [parse_gate(gate) for gate in gates]
    loaded = load_run(run)
    asked: dict[str, Any] = {
        "groups": groups or None,
        "k": k,
        "data": data,
        "find_groups": find_groups,
        "min_share": min_share,
    }
    if compare:
        _compare(loaded, compare, asked, plot, style)
        return
    found = loaded.audit(
        rerank=yaml_values("--rerank", rerank) if rerank else not no_rerank, **asked
    )
    if style == "json":
        click.echo(json.dumps(found.to_json(), indent=1))
    elif style == "csv":
        show_frame(found.groups, style)
    else:
        click.echo(f"{found}\n")
        show_frame(found.table(), title="share of data and of lists, and how many times as large")
    lines = failures(found, parsed)
    for line in lines:
        click.echo(line, err=True)
    if lines:
        sys.exit(1)


def _compare(
    run: Run, policies: tuple[str, ...], asked: dict[str, Any], plot: Path | None, style: str | None
) -> None:
    from tabcf.cli.show import show_frame

    table = run.compare_policies(yaml_values("--compare", policies), **asked)
    shorter = {"amplification": "amplified", "popularity_lift": "lift"}
    show_frame(table if style else table.rename(columns=shorter), style)
    if plot is not None:
        if "amplification" not in table:
            raise click.UsageError("--plot: no group has enough events; see --min-share")
        from tabcf.inspection.plots import plot_policies

        plot_policies(table, plot)
        click.echo(str(plot), err=True)
