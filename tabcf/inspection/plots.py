"""Plots, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from pathlib import Path

from tabcf.errors import MissingExtraError
from tabcf.training.lr_finder import LearningRates

__all__ = ["plot_learning_rates"]


def plot_learning_rates(found: LearningRates, path: Path) -> None:
    """Draw loss against learning rate, with the suggestion marked.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.learning_rates, found.losses)
    axes.axvline(found.suggestion, color="tab:orange", label=f"suggested: {found.suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed")
    axes.legend()
    figure.savefig(path)
