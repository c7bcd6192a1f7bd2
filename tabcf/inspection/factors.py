"""What the dimensions of trained vectors stand for: rotated axes, and what goes with them.

Dimension letters: n trained rows, D width of the vectors, A axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.data.values import sets
from tabcf.errors import DataError
from tabcf.inspection.named import named_rows
from tabcf.recommend.neighbours import entity_vectors, similar
from tabcf.recommend.trained import Trained

__all__ = ["Factors", "latent_factors", "neighbours_by", "vector_map", "vector_norms"]

# A value of an attribute, such as a genre, is told of when at least so many rows have it.
_FEWEST_WITH = 10
# A vector counts as hardly trained when it is shorter than half of what those with so many events
# have in the median.
_ENOUGH_EVENTS, _SHORT = 20, 0.5


@dataclass(frozen=True, slots=True)
class Factors:
    """Axes through an entity's vectors, those along which they differ most first.

    Attributes:
        share: `axis`, and `share` of the vectors' variance along it.
        scores: One row each, indexed by id: the label where there is one, and the place on each
            axis.
        ends: The rows at both ends of each axis: `axis`, `end` (`high` or `low`), `rank`, id,
            label, `score`.
        correlations: `axis`, `attribute` (such as `genres = Comedy`, `year` or `log popularity`)
            and Pearson's `r`, the strongest of each axis first.
    """

    share: pd.DataFrame
    scores: pd.DataFrame
    ends: pd.DataFrame
    correlations: pd.DataFrame

    def __str__(self) -> str:
        lines = []
        for row in self.share.itertuples(index=False):
            best = self.correlations[self.correlations["axis"] == row.axis].head(3)
            what = ", ".join(
                f"{a} {r:+.2f}" for a, r in zip(best["attribute"], best["r"], strict=True)
            )
            lines.append(f"axis {row.axis}: {row.share:.1%} of variance; {what or 'no attributes'}")
            for end in ("high", "low"):
                own = self.ends[(self.ends["axis"] == row.axis) & (self.ends["end"] == end)]
                shown = own.columns[4] if own.columns[4] != "score" else own.columns[3]
                lines.append(f"  {end}: {', '.join(map(str, own[shown].head(5)))}")
        return "\n".join(lines)


def latent_factors(
    trained: Trained,
    entity: str = "item",
    *,
    axes: int = 4,
    k: int = 10,
    min_count: int = 20,
    rotate: bool = True,
) -> Factors:
    """The directions in which trained vectors differ most, and what they go with.

    Principal components are found on rows with enough events, since others' vectors hardly moved
    from where they started, and then rotated by varimax (Kaiser, 1958), which makes each row
    depend on few axes. The sign of an axis is arbitrary; it is set so that popular rows are high.

    Args:
        trained: A model with vectors.
        entity: Whose vectors.
        axes: A, how many axes.
        k: Rows to show at each end.
        min_count: Rows with fewer training events are placed, and not listed at the ends.
        rotate: Whether to rotate.

    Raises:
        RunError: The model learns no vectors.
        DataError: Fewer rows than axes have so many events.
    """
    vectors = entity_vectors(trained, entity)[1:].double()
    known = trained.encoder.entities[entity]
    rows = known.row_of_index[1:]
    counts = known.n_events[rows]
    is_busy = torch.from_numpy(counts >= min_count)
    axes = min(axes, vectors.shape[1])
    if int(is_busy.sum()) <= axes:
        raise DataError(
            f"factors: expected more than {axes} of {entity} with {min_count} training events, "
            f"got {int(is_busy.sum())}; lower `min_count`"
        )
    centre = vectors[is_busy].mean(0)
    off = vectors - centre
    _, _, directions = torch.linalg.svd(off[is_busy], full_matrices=False)
    basis = directions[:axes].T
    if rotate and axes > 1:
        basis = basis @ _varimax(off[is_busy] @ basis)
    places = off @ basis
    spread = places[is_busy].var(0, unbiased=False)
    order = torch.argsort(-spread)
    popularity = np.log1p(counts)
    places = places[:, order]
    for axis in range(axes):
        if _correlation(places[is_busy, axis].numpy(), popularity[is_busy.numpy()]) < 0:
            places[:, axis] *= -1
    total = off[is_busy].var(0, unbiased=False).sum().clamp_min(1e-12)
    share = pd.DataFrame({"axis": np.arange(1, axes + 1), "share": (spread[order] / total).numpy()})
    named = named_rows(trained, entity, rows)
    scores = pd.DataFrame(named).set_index(known.plan.id)
    for axis in range(axes):
        scores[f"axis {axis + 1}"] = places[:, axis].numpy()
    return Factors(
        share,
        scores,
        _ends(named, places.numpy(), is_busy.numpy(), k),
        _correlations(trained, entity, rows, places.numpy(), is_busy.numpy()),
    )


def vector_map(trained: Trained, entity: str = "item", *, min_count: int = 20) -> pd.DataFrame:
    """Rows on a plane: the two directions in which vectors differ most.

    Returns:
        Indexed by id: the label where there is one, `x`, `y` and `count`.
    """
    found = latent_factors(trained, entity, axes=2, k=1, min_count=min_count, rotate=False)
    frame = found.scores.rename(columns={"axis 1": "x", "axis 2": "y"})
    known = trained.encoder.entities[entity]
    frame["count"] = known.n_events[known.row_of_index[1:]]
    return frame


def vector_norms(trained: Trained, entity: str = "item") -> pd.DataFrame:
    """Lengths of trained vectors beside the number of events behind them, fewest events first.

    Returns:
        Indexed by id: the label where there is one, `count`, `norm` and `is_undertrained`: the
        vector is shorter than half the median of those with 20 events or more, so that its
        neighbours say little.
    """
    vectors = entity_vectors(trained, entity)[1:]
    known = trained.encoder.entities[entity]
    rows = known.row_of_index[1:]
    frame = pd.DataFrame(named_rows(trained, entity, rows)).set_index(known.plan.id)
    frame["count"] = known.n_events[rows]
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    frame["norm"] = norms.numpy()
    busy = frame.loc[frame["count"] >= _ENOUGH_EVENTS, "norm"]
    frame["is_undertrained"] = frame["norm"] < _SHORT * (
        busy.median() if len(busy) else frame["norm"].median()
    )
    return frame.sort_values("count", kind="stable")


def neighbours_by(
    trained: Trained, entity: str, id: Any, k: int = 10, *, is_text: bool = False
) -> pd.DataFrame:
    """The nearest by cosine, dot product and distance side by side.

    Returns:
        `rank`, and for each of `cosine`, `dot` and `euclidean` who is there: the label where there
        is one, else the id. `agree` says how many of the three have the cosine's one among their k,
        and `basis` what the one asked for rests on, as `similar` has it.
    """
    known = trained.encoder.entities.get(entity)
    shown = known.plan.label or known.plan.id if known is not None else ""
    found = {
        metric: similar(trained, entity, id, k, metric=metric, is_text=is_text)
        for metric in ("cosine", "dot", "euclidean")
    }
    own = known.plan.id if known is not None else ""
    members = [set(frame[own]) for frame in found.values()]
    frame = pd.DataFrame({"rank": found["cosine"]["rank"]})
    for metric, near in found.items():
        frame[metric] = near[shown].to_numpy()
    frame["agree"] = [sum(i in ids for ids in members) for i in found["cosine"][own]]
    frame["basis"] = found["cosine"]["basis"]
    return frame


def _varimax(loadings: Tensor, *, sweeps: int = 100) -> Tensor:
    """`(A, A)`: the rotation that makes the squares of `(n, A)` loadings vary most."""
    n, axes = loadings.shape
    rotation = torch.eye(axes, dtype=loadings.dtype)
    last = 0.0
    for _ in range(sweeps):
        turned = loadings @ rotation
        slope = loadings.T @ (turned**3 - turned * (turned.pow(2).sum(0) / n))
        left, sizes, right = torch.linalg.svd(slope)
        rotation = left @ right
        if float(sizes.sum()) < last * (1 + 1e-9):
            break
        last = float(sizes.sum())
    return rotation


def _ends(named: dict[str, Any], places: np.ndarray, is_busy: np.ndarray, k: int) -> pd.DataFrame:
    busy = np.flatnonzero(is_busy)
    rows = []
    for axis in range(places.shape[1]):
        order = busy[np.argsort(-places[busy, axis], kind="stable")]
        for end, own in (("high", order[:k]), ("low", order[::-1][:k])):
            for rank, row in enumerate(own.tolist(), start=1):
                place = {name: values[row] for name, values in named.items()}
                score = float(places[row, axis])
                rows.append({"axis": axis + 1, "end": end, "rank": rank, **place, "score": score})
    return pd.DataFrame(rows)


def _correlations(
    trained: Trained, entity: str, rows: np.ndarray, places: np.ndarray, is_busy: np.ndarray
) -> pd.DataFrame:
    found = []
    attributes = _attributes(trained, entity, rows)
    for axis in range(places.shape[1]):
        own = [
            (axis + 1, name, _correlation(places[is_busy, axis], values[is_busy]))
            for name, values in attributes.items()
        ]
        own = [entry for entry in own if np.isfinite(entry[2])]
        found += sorted(own, key=lambda entry: -abs(entry[2]))
    return pd.DataFrame(found, columns=["axis", "attribute", "r"])


def _attributes(trained: Trained, entity: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers by name, one a row: popularity, numeric attributes, and who has which value."""
    known = trained.encoder.entities[entity]
    frame = known.with_blank_row().frame
    found: dict[str, np.ndarray] = {"log popularity": np.log1p(known.n_events[rows])}
    for column in frame.columns.drop([known.plan.id, known.plan.label], errors="ignore"):
        as_numbers = pd.to_numeric(frame[column], errors="coerce")
        if as_numbers.notna().sum() > 0.5 * frame[column].notna().sum():
            found[str(column)] = as_numbers.to_numpy(dtype=float)[rows]
            continue
        values, offsets = sets(frame[column], separator="|")
        names, place = np.unique(np.array(values, dtype=str), return_inverse=True)
        counts = np.bincount(place, minlength=len(names))
        of_value = np.repeat(np.arange(len(frame)), np.diff(offsets))
        for number in np.flatnonzero(counts >= _FEWEST_WITH):
            has = np.zeros(len(frame))
            has[of_value[place == number]] = 1
            found[f"{column} = {names[number]}"] = has[rows]
    return found


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Pearson's r over rows where both are there; NaN where one does not vary."""
    is_there = np.isfinite(left) & np.isfinite(right)
    a, b = left[is_there], right[is_there]
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
