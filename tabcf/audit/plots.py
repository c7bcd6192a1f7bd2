"""Pictures of a simulation, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from tabcf.audit.result import LoopResult
from tabcf.errors import MissingExtraError

__all__ = ["plot_loop"]

_FIGURES = ("gini", "homogeneity", "utility", "popularity")
_AMPLIFICATION = "amplification("


def plot_loop(result: LoopResult, to: Path | IO[bytes]) -> None:
    """Draw figures over rounds, a line a policy, with bands where there are several seeds.

    One panel each: amplification for each group's others, Gini index of all interactions,
    homogeneity, utility and popularity.

    Args:
        result: What came of a simulation.
        to: A path, whose ending says the format, or a file, which gets SVG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    bands = result.bands()
    of_groups = [name for name in result.rounds.columns if name.startswith(_AMPLIFICATION)]
    names = [name for name in of_groups if not name.endswith(", members)")] + [*_FIGURES]
    n_columns = 2
    n_rows = -(-len(names) // n_columns)
    policies = result.rounds["policy"].unique()
    height = 2.8 * n_rows + 0.25 * -(-len(policies) // n_columns)
    figure = Figure(figsize=(4 * n_columns, height), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for policy, own in bands[bands["figure"] == name].groupby("policy", sort=False):
            (line,) = axes.plot(own["round"], own["mean"], marker=".", label=str(policy))
            axes.fill_between(
                own["round"], own["low"], own["high"], color=line.get_color(), alpha=0.2, lw=0
            )
        if name == "homogeneity":
            # A ratio, many times as high for popular items as for a model.
            axes.set_yscale("log")
        axes.set(xlabel="round", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[len(names) :]:
        axes.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=n_columns, fontsize=9)
    if isinstance(to, Path):
        figure.savefig(to, dpi=150)
    else:
        figure.savefig(to, format="svg")
