"""Pictures of measurements, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pandas as pd

from tabcf.errors import MissingExtraError
from tabcf.evaluation.learning_curve import N_GIVEN, WITHOUT

__all__ = ["plot_learning_curve"]


def plot_learning_curve(curve: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw metrics over the number of events that are given, a panel a metric.

    Args:
        curve: What `Run.learning_curve` gives.
        to: A path, whose ending says the format, or a file, which gets SVG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    names = [name for name in curve.columns[2:] if not name.endswith(WITHOUT)]
    figure = Figure(figsize=(4.5 * max(len(names), 1), 3.5), layout="constrained")
    panels = figure.subplots(1, max(len(names), 1), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        for column, label in ((name, "with attributes"), (f"{name}{WITHOUT}", WITHOUT.strip())):
            if column in curve:
                axes.plot(curve[N_GIVEN], curve[column], marker="o", label=label)
        axes.set(xlabel=f"events of a new {curve.columns[1][2:-1]}", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if f"{name}{WITHOUT}" in curve:
            axes.legend(fontsize=8)
    if isinstance(to, Path):
        figure.savefig(to, dpi=150)
    else:
        figure.savefig(to, format="svg")
