"""Plots, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.errors import MissingExtraError
from tabcf.inspection.crosstab import Crosstab
from tabcf.training.lr_finder import LearningRates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_bias_gaps",
    "plot_calibration",
    "plot_crosstab",
    "plot_learning_rates",
    "plot_map",
    "plot_norms",
    "plot_policies",
    "plot_replay",
    "plot_training",
]

# Points of a scatter plot that get their names.
_NAMED = 12


def plot_learning_rates(found: LearningRates, to: Path | IO[bytes]) -> None:
    """Draw loss against learning rate, with the suggestion marked.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to) as axes:
        axes.plot(found.learning_rates, found.losses)
        axes.axvline(
            found.suggestion, color="tab:orange", label=f"suggested: {found.suggestion:.1e}"
        )
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed")
        axes.legend()


def plot_crosstab(found: Crosstab, to: Path | IO[bytes]) -> None:
    """Draw users against items: known cells framed, predictions in the others.

    Where the model has vectors, users' first numbers stand on the left and items' on top.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    n_users, n_items = found.values.shape
    with _figure(to, width=2.5 + 0.62 * n_items, height=1.5 + 0.42 * n_users) as axes:
        shown = axes.imshow(found.values.to_numpy(), cmap="viridis", aspect="auto")
        axes.figure.colorbar(shown, ax=axes, label="target: framed if known, else predicted")
        low, high = shown.get_clim()
        values, known = found.values.to_numpy(dtype=float), found.is_known.to_numpy(dtype=bool)
        for row in range(n_users):
            for column in range(n_items):
                value, is_known = values[row, column], known[row, column]
                is_dark = value < (low + high) / 2
                axes.text(
                    column,
                    row,
                    f"{value:g}" if is_known else f"{value:.1f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if is_dark else "black",
                    fontweight="bold" if is_known else "normal",
                    bbox={"boxstyle": "square,pad=0.25", "fill": False, "lw": 0.8 * is_known},
                )
        axes.set_xticks(
            range(n_items),
            [_with_vector(name, found.item_vectors, n) for n, name in enumerate(found.values)],
            rotation=60,
            ha="right",
            fontsize=7,
        )
        user_vectors = None if found.user_vectors is None else found.user_vectors.T
        axes.set_yticks(
            range(n_users),
            [_with_vector(name, user_vectors, n) for n, name in enumerate(found.values.index)],
            fontsize=7,
        )
        axes.set(xlabel=str(found.values.columns.name), ylabel=str(found.values.index.name))


def plot_bias_gaps(gaps: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw the rank by bias against the rank by mean, the widest gaps named.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to, height=6) as axes:
        for why, own in gaps.groupby("why"):
            axes.scatter(own["mean_rank"], own["bias_rank"], s=9, alpha=0.6, label=str(why))
        last = float(max(gaps["mean_rank"].max(), gaps["bias_rank"].max()))
        axes.plot([0, last], [0, last], color="grey", lw=0.8)
        _annotate(axes, gaps["mean_rank"], gaps["bias_rank"], _names(gaps))
        axes.set(xlabel="rank by mean target", ylabel="rank by bias")
        axes.invert_xaxis()
        axes.invert_yaxis()
        axes.legend(fontsize=7)


def plot_map(places: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw everyone's place on a plane, the most popular named.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to, width=8, height=7) as axes:
        size = 4 + 60 * places["count"] / places["count"].max()
        axes.scatter(places["x"], places["y"], s=size, alpha=0.4, lw=0)
        busiest = places.sort_values("count", ascending=False)
        _annotate(axes, busiest["x"], busiest["y"], _names(busiest), most=3 * _NAMED)
        axes.set(xlabel="first direction", ylabel="second direction")


def plot_norms(norms: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw lengths of vectors against numbers of events.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to) as axes:
        for is_under, own in norms.groupby("is_undertrained"):
            label = "hardly trained" if is_under else "trained"
            axes.scatter(own["count"], own["norm"], s=9, alpha=0.5, label=label)
        axes.set(xscale="log", xlabel="training events", ylabel="length of the vector")
        axes.legend()


def plot_training(epochs: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw loss and validation metrics by epoch.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to) as axes:
        for column in epochs.columns.drop(["epoch", "learning_rate", "seconds"]):
            axes.plot(epochs["epoch"], epochs[column], marker=".", label=column.replace("_", " "))
        axes.set(xlabel="epoch")
        axes.legend()


def plot_calibration(table: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw actual against predicted, for all rows and by bands of popularity.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to, height=6) as axes:
        for (by, band), own in table.groupby(["by", "band"], sort=False):
            is_all = by == "all"
            axes.errorbar(
                own["predicted"],
                own["actual"],
                yerr=own["se"] if is_all else None,
                marker="o" if is_all else ".",
                lw=2 if is_all else 0.8,
                label="all" if is_all else f"{by}: {band}",
            )
        low, high = table["predicted"].min(), table["predicted"].max()
        axes.plot([low, high], [low, high], color="grey", lw=0.8)
        axes.set(xlabel="predicted", ylabel="actual")
        axes.legend(fontsize=7)


def plot_replay(summary: pd.DataFrame, metric: str, to: Path | IO[bytes]) -> None:
    """Draw a metric against the number of questions, one line a selector.

    Args:
        summary: One row a selector and number of questions: `selector`, `n_asked` and the metric.
        metric: Its column.
        to: A path, whose ending says the format, or a file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to) as axes:
        for name, curve in summary.groupby("selector", sort=False):
            axes.plot(curve["n_asked"], curve[metric], marker="o", label=str(name))
        axes.set(xlabel="questions asked", ylabel=f"{metric}, mean over users")
        axes.legend()


def plot_policies(table: pd.DataFrame, to: Path | IO[bytes]) -> None:
    """Draw accuracy against amplification, a point a policy, coloured by the Gini index of lists.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(to, width=8, height=5) as axes:
        shown = axes.scatter(table["amplification"], table["ndcg"], c=table["gini"], cmap="viridis")
        axes.figure.colorbar(shown, ax=axes, label="Gini index of the lists")
        names = [_short(name, width=36) for name in table["policy"]]
        _annotate(axes, table["amplification"], table["ndcg"], names, most=len(names))
        axes.set(xlabel="largest amplification of a group", ylabel="NDCG on held rows")


@contextmanager
def _figure(to: Path | IO[bytes], *, width: float = 6.5, height: float = 4.5) -> Iterator[Axes]:
    """Axes to draw on; saved when the block ends: as the path's ending says, as SVG elsewhere."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure.subplots()
    if isinstance(to, Path):
        figure.savefig(to, dpi=150)
    else:
        figure.savefig(to, format="svg")


def _annotate(axes: Axes, x: Any, y: Any, names: list[str], *, most: int = _NAMED) -> None:
    """Name the first points that lie apart from those named before."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    width, height = np.ptp(xs) or 1.0, np.ptp(ys) or 1.0
    named: list[int] = []
    for place, name in enumerate(names):
        is_apart = all(
            abs(xs[place] - xs[other]) > 0.2 * width or abs(ys[place] - ys[other]) > 0.025 * height
            for other in named
        )
        if is_apart and len(named) < most:
            axes.annotate(name, (xs[place], ys[place]), fontsize=7)
            named.append(place)


def _names(frame: pd.DataFrame) -> list[str]:
    """What to call a frame's rows: their label, which comes first if there is one, or their id."""
    first = frame.iloc[:, 0]
    texts = first if first.dtype.kind not in "iuf" else frame.index
    return [_short(value) for value in texts]


def _short(value: Any, *, width: int = 24) -> str:
    text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _with_vector(name: Any, vectors: pd.DataFrame | None, place: int) -> str:
    if vectors is None:
        return _short(name)
    first = vectors.iloc[:3, place].to_numpy()
    return f"{_short(name)} [{', '.join(f'{x:.2f}' for x in np.atleast_1d(first))}…]"
