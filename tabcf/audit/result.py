"""What came of a simulation, and how sure its figures are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.audit.state import Finished
from tabcf.errors import RunError

__all__ = ["NO_RECOMMENDER", "LoopResult"]

NO_RECOMMENDER = "no recommender"

_KEYS = ["policy", "round"]


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What came of a simulation.

    Attributes:
        rounds: One row a seed, policy and round, users without a recommender among the policies.
            Of all interactions so far: `gini`. Of the round's lists (without a recommender, of
            what was taken): `gini(lists)`, `coverage` (the share of items that anyone was shown)
            and `popularity` (how often items had been chosen at first, the mean over lists over
            the mean over first interactions). Of the round's choices: how many were `taken`, and
            their mean `utility`. Of all choices since the first round: `homogeneity` (the mean
            Jaccard index of two users, over that without a recommender) and `drift` (the KL
            divergence of the kinds that a user took from those they had at first, in nats). Of
            each group: `amplification(NAME)`, the share of its items in everyone else's lists
            over their share in everyone else's first interactions, and
            `amplification(NAME, members)`, the same for members.
    """

    rounds: pd.DataFrame

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> LoopResult:
        """From each round's figures, `jaccard` becoming `homogeneity`."""
        frame = pd.DataFrame([*rows])
        alone = frame[frame["policy"] == NO_RECOMMENDER].set_index(["seed", "round"])["jaccard"]
        without = alone.reindex(pd.MultiIndex.from_frame(frame[["seed", "round"]])).to_numpy()
        frame["homogeneity"] = frame.pop("jaccard") / np.where(without > 0, without, np.nan)
        return cls(frame)

    @classmethod
    def read(cls, path: str | Path) -> LoopResult:
        """The finished worlds in a simulation's state file.

        Raises:
            RunError: There is no such file, it is another, or no world in it is finished.
        """
        path = Path(path)
        if not path.is_file():
            raise RunError(f"{path}: no such file; `tabcf simulate RUN --state FILE` writes one")
        worlds = Finished.read(path).worlds
        if not worlds:
            raise RunError(f"{path}: no world of the simulation is finished yet")
        return cls.of_rows(row for rows in worlds.values() for row in rows)

    def bands(self, *, level: float = 0.95) -> pd.DataFrame:
        """Each figure's mean over seeds, by policy and round.

        Args:
            level: How likely the band from `low` to `high` holds the mean over all seeds: it is
                mean ± t · s / √n by Student's t of n - 1 degrees of freedom, NaN of one seed.

        Returns:
            `policy`, `round`, `figure`, `mean`, `low` and `high`.
        """
        names = [name for name in self.rounds.columns if name not in (*_KEYS, "seed")]
        long = self.rounds.melt(id_vars=[*_KEYS, "seed"], value_vars=names, var_name="figure")
        grouped = long.groupby([*_KEYS, "figure"], sort=False)["value"]
        found = grouped.agg(["mean", "std", "count"]).reset_index()
        quantile = {n: _t_quantile(level, n - 1) for n in found["count"].unique()}
        width = found["count"].map(quantile) * found["std"] / np.sqrt(found["count"])
        found["low"], found["high"] = found["mean"] - width, found["mean"] + width
        return found.drop(columns=["std", "count"])


def _t_quantile(level: float, degrees: int) -> float:
    """The t that |T| stays below with probability `level`; NaN without degrees of freedom."""
    if degrees < 1:
        return math.nan
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _t_within(angle, degrees) < level else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _t_within(angle: float, degrees: int) -> float:
    """P(|T| < √degrees · tan(angle)), by Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2
    term = cosine if is_odd else 1.0
    total = 0.0
    for n in range(2 + is_odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (n - 1) / n
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
