"""Charts as SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import IO, Any

import pandas as pd

from tabcf.errors import MissingExtraError
from tabcf.report.blocks import Chart

__all__ = ["bars", "drawn", "lines"]

# Stands for the page's own colour of text, which matplotlib has no name for.
_INK = "#010203"
_STYLE: dict[str, Any] = {
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10,
    "legend.facecolor": "none",
    "legend.framealpha": 0.0,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "tabcf",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def drawn(draw: Callable[[Any, IO[bytes]], None], found: Any, caption: str) -> Chart:
    """What a function of `tabcf.inspection.plots` draws.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    into = io.BytesIO()
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # takes literal names alone
        draw(found, into)
    return Chart(_inline(into.getvalue().decode()), caption)


def bars(values: pd.Series[Any], caption: str, *, x: str, y: str) -> Chart:
    """One bar an entry, named by the index."""

    def draw(found: pd.Series[Any], into: IO[bytes]) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.5, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.bar([str(name) for name in found.index], found.to_numpy(), color="tab:blue")
        axes.set(xlabel=x, ylabel=y)
        figure.savefig(into, format="svg")

    return drawn(draw, values, caption)


def lines(frame: pd.DataFrame, caption: str, *, x: str, y: str, is_log: bool = False) -> Chart:
    """One line a column over the index."""

    def draw(found: pd.DataFrame, into: IO[bytes]) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.5, 3.2), layout="constrained")
        axes = figure.subplots()
        for name in found.columns:
            axes.plot(found.index, found[name], label=str(name).replace("_", " "))
        axes.set(xlabel=x, ylabel=y, **({"xscale": "log", "yscale": "log"} if is_log else {}))
        if len(found.columns) > 1:
            axes.legend()
        figure.savefig(into, format="svg")

    return drawn(draw, frame, caption)


def _inline(svg: str) -> str:
    """The drawing alone, in the page's colour, as wide as there is room."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r' height="[^"]*"', "", svg, count=1)
    )
