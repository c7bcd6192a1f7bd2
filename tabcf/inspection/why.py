"""Why a model gives one user one item that score: its terms, their past items, users like them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.model import AdditiveScorer, ColumnVectors, ReadsHistory
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import join, select, to_device
from tabcf.data.sources import Source
from tabcf.data.targets import encode_target
from tabcf.inspection.named import named_rows
from tabcf.recommend.basis import TRAINED, basis_of, cold
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.neighbours import entity_vectors
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["Explanation", "explain"]

# Past items that are left out one at a time, the latest of those that a user has.
_MOST_PAST = 200
# Users who count as like this one: so many, or a tenth of all where that is less.
_N_SIMILAR, _SHARE_SIMILAR = 50, 0.1


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one score is made of.

    Attributes:
        score: The prediction, in the target's units.
        terms: `term` and `value`, largest first. With `unit` `score` they add up to the score;
            with `before the range` to what the model's range is applied to; with `left out` a
            value is how much the score falls when that column is unknown, and they do not add up.
        unit: What the terms' values are.
        past: The user's past items: id, label, target where it is kept, and `push`: how much higher
            the score is because of that event. Items that push up come first.
        similar_users: Of the users nearest to this one: `n`, how many of them `had` the item, and
            the `mean` target that they gave it (NaN where there is none). Counts alone.
        basis: `trained`, or which of the two has no training events and what stands in for them.
    """

    score: float
    terms: pd.DataFrame
    unit: str
    past: pd.DataFrame
    similar_users: dict[str, float]
    basis: str = TRAINED

    def __str__(self) -> str:
        parts = [
            f"score {self.score:.4f}" + (f" ({self.basis})" if self.basis != TRAINED else ""),
            f"\nterms ({self.unit}):\n{self.terms.to_string(index=False)}",
        ]
        if len(self.past):
            shown = self.past
            if len(shown) > 10:
                shown = pd.concat([shown.head(5), shown.tail(5)])
            parts.append(f"\npast items that push it:\n{shown.to_string(index=False)}")
        if self.similar_users:
            n, had = int(self.similar_users["n"]), int(self.similar_users["had"])
            mean = self.similar_users["mean"]
            how = "" if np.isnan(mean) else f", at {mean:.2f} on average"
            parts.append(f"\nof the {n} users most like this one {had} had it{how}")
        return "\n".join(parts)


def explain(
    trained: Trained, fold: FoldIn | None, user: Any, item: Any, *, is_text: bool = False
) -> Explanation:
    """Take one score apart.

    Args:
        trained: The model.
        fold: What finds rows anew, to see what a past item does; None for a model without.
        user: An id.
        item: An id or a label such as a title.
        is_text: Ids come from a command line.

    Raises:
        DataError: What is given is neither an id nor a label.
        RunError: The run has no users and items.
    """
    trained.require_entities("why")
    encoder = trained.encoder
    user_row = encoder.entities["user"].row_or_unknown(user, is_text=is_text)
    item_row = encoder.entities["item"].row_or_unknown(item, is_text=is_text)
    rows = np.array([user_row], dtype=np.int32)
    sides = (
        select(encoder.tables["user"].inputs, torch.from_numpy(rows)),
        select(encoder.tables["item"].inputs, torch.tensor([item_row])),
        encoder.events_with({}, rows),
    )
    score = float(_scores(trained, sides, rows)[0])
    terms, unit = _terms(trained, sides, rows, score)
    return Explanation(
        score,
        terms,
        unit,
        _past(trained, fold, user_row, item_row, sides),
        _alike(trained, user_row, item_row),
        _basis(trained, user_row, item_row),
    )


def _basis(trained: Trained, user_row: int, item_row: int) -> str:
    """`trained`, or who is cold and what stands in for them."""
    texts = []
    for name, row in (("user", user_row), ("item", item_row)):
        index = trained.encoder.entities[name].index[row]
        basis = str(basis_of(trained.encoder, name, index, row > 0))
        if basis != TRAINED:
            texts.append(cold(basis, name))
    return "; ".join(texts) or TRAINED


_Sides = tuple[Inputs, Inputs, Inputs]


@torch.inference_mode()
def _scores(
    trained: Trained, sides: _Sides, user_rows: np.ndarray, history: Bag | None = None
) -> Tensor:
    """`(B,)`: the scores of one item for B users."""
    if history is None and trained.past is not None:
        bag = trained.past.positive.of_users(user_rows)
        index = trained.encoder.tables["item"].index
        history = Bag(index[bag.values.long()], bag.offsets)
    users, items, events = sides
    blocks = score_blocks(trained, users, events, items, history=history)
    return torch.cat([scores[:, 0] for _, scores in blocks])


def _terms(
    trained: Trained, sides: _Sides, user_rows: np.ndarray, score: float
) -> tuple[pd.DataFrame, str]:
    layout, target = trained.encoder.layout, trained.target
    names = [column.name for column in layout.categorical]
    names += [column.name for column in layout.continuous]
    names += [column.name for column in layout.sets]
    if isinstance(trained.model, AdditiveScorer):
        with torch.inference_mode():
            found = trained.model.terms(to_device(join(*sides), trained.device))
        scale = float(target.scale[0]) if target.scale else 1.0
        rows = [
            (_named([names[c] for c in columns]), float(value[0]) * scale)
            for columns, value in found
        ]
        if target.center and target.center[0]:
            rows.append(("mean of the target", float(target.center[0])))
        total = sum(value for _, value in rows)
        unit = "score" if abs(total - score) <= 1e-3 * (1 + abs(score)) else "before the range"
        return _sorted(rows), unit
    rows = []
    for name, without in _without_each(layout, sides):
        fallen = float(_scores(trained, without, user_rows)[0])
        rows.append((name, score - fallen))
    return _sorted(rows), "left out"


def _named(columns: list[str]) -> str:
    if not columns:
        return "mean"
    return f"bias of {columns[0]}" if len(columns) == 1 else " × ".join(columns)


def _sorted(rows: list[tuple[str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["term", "value"])
    order = np.argsort(-frame["value"].abs().to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _without_each(layout: Any, sides: _Sides) -> list[tuple[str, _Sides]]:
    """The sides with one column unknown, for each column."""
    found = []
    for number, side in enumerate(("user", "item", "event")):
        own = sides[number]
        cats = [column.name for column in layout.categorical if column.side == side]
        conts = [column.name for column in layout.continuous if column.side == side]
        sets = [column.name for column in layout.sets if column.side == side]
        for c, name in enumerate(cats):
            x_cat = own.x_cat.clone()
            x_cat[:, c] = 0
            found.append((name, _replaced(sides, number, own._replace(x_cat=x_cat))))
        for c, name in enumerate(conts):
            x_cont = own.x_cont.clone()
            x_cont[:, c] = 0
            found.append((name, _replaced(sides, number, own._replace(x_cont=x_cont))))
        for c, name in enumerate(sets):
            bags = list(own.x_sets)
            bags[c] = Bag(bags[c].values[:0], torch.zeros_like(bags[c].offsets))
            found.append((name, _replaced(sides, number, own._replace(x_sets=tuple(bags)))))
    return found


def _replaced(sides: _Sides, number: int, side: Inputs) -> _Sides:
    changed = list(sides)
    changed[number] = side
    return changed[0], changed[1], changed[2]


def _past(
    trained: Trained, fold: FoldIn | None, user_row: int, item_row: int, sides: _Sides
) -> pd.DataFrame:
    """What each of the user's past events adds to the score: the score with all, less without."""
    if trained.past is None or trained.read_events is None:
        return pd.DataFrame()
    events = trained.events.learnable()
    rows = trained.encoder.encode_ids(events)
    own = np.flatnonzero((rows["user"] == user_row) & (rows["item"] != item_row))[-_MOST_PAST:]
    if not user_row or not len(own):
        return pd.DataFrame()
    source = Source(events.frame.iloc[own].reset_index(drop=True), events.name, events.is_text)
    items = rows["item"][own]
    if isinstance(trained.model, ReadsHistory):
        scores = _with_shorter_histories(trained, sides, items)
    elif fold is not None:
        scores = _with_other_rows(trained, fold, source, user_row, sides)
    else:
        return pd.DataFrame()
    values = named_rows(trained, "item", items)
    if trained.target.columns and trained.target.columns[0] in source.frame:
        values[trained.target.columns[0]] = source.frame[trained.target.columns[0]].to_numpy()
    values["push"] = scores[0] - scores[1:]
    frame = pd.DataFrame(values)
    return frame.iloc[np.argsort(-frame["push"].to_numpy(), kind="stable")].reset_index(drop=True)


def _with_shorter_histories(trained: Trained, sides: _Sides, items: np.ndarray) -> np.ndarray:
    """`(1 + n,)`: the score with all past items, then without each of them."""
    n = len(items)
    index = trained.encoder.tables["item"].index[torch.from_numpy(items).long()]
    shorter = [index, *(torch.cat([index[:i], index[i + 1 :]]) for i in range(n))]
    lengths = torch.tensor([len(part) for part in shorter])
    history = Bag(torch.cat(shorter), lengths.cumsum(0) - lengths)
    repeated = torch.zeros(n + 1, dtype=torch.int64)
    users, item, event = sides
    many = (select(users, repeated), item, select(event, repeated))
    return _scores(trained, many, np.zeros(n + 1, dtype=np.int32), history).numpy()


def _with_other_rows(
    trained: Trained, fold: FoldIn, source: Source, user_row: int, sides: _Sides
) -> np.ndarray:
    """`(1 + n,)`: the score with a row found from all events, then without each of them."""
    n = len(source.frame)
    table = trained.encoder.encode(source)
    target = encode_target(trained.target, source)
    # Copy 0 has all events, copy j + 1 all but event j.
    copies = torch.arange(n + 1).repeat_interleave(n)
    positions = torch.arange(n).repeat(n + 1)
    is_kept = positions != copies - 1
    copies, positions = copies[is_kept], positions[is_kept]
    own = select(table.entities["user"].inputs, torch.full((n + 2,), user_row))
    copied = Table(
        {
            name: (copies + 1).int() if name == "user" else rows[positions]
            for name, rows in table.rows.items()
        },
        select(table.events, positions),
        {**table.entities, "user": EntityTable(own)},
        None if target is None else target[positions],
    )
    found = fold.solve(copied, n + 1)
    _, item, event = sides
    repeated = torch.zeros(n + 1, dtype=torch.int64)
    users = select(sides[0], repeated)
    with fold.holding(found.mean) as (model, index), torch.inference_mode():
        x_cat = users.x_cat.clone()
        x_cat[:, 0] = index
        pairs = join(users._replace(x_cat=x_cat), select(item, repeated), select(event, repeated))
        raw = model(*to_device(pairs, trained.device))
    return ranking_value(trained.loss.decode(raw)).cpu().numpy()


def _alike(trained: Trained, user_row: int, item_row: int) -> dict[str, float]:
    """How many of the users nearest to this one had the item, and what they gave it."""
    index = int(trained.encoder.entities["user"].index[user_row])
    if not item_row or not index or trained.past is None:
        return {}
    if not isinstance(trained.model, ColumnVectors):
        return {}
    vectors = torch.nn.functional.normalize(entity_vectors(trained, "user"), dim=1)
    closeness = vectors @ vectors[index]
    closeness[[0, index]] = -torch.inf
    n = min(_N_SIMILAR, int(np.ceil(_SHARE_SIMILAR * (len(vectors) - 2))))
    nearest = closeness.topk(max(n, 0)).indices.numpy()
    near_rows = trained.encoder.entities["user"].row_of_index[nearest]
    events = trained.events.learnable()
    rows = trained.encoder.encode_ids(events)
    is_theirs = np.isin(rows["user"], near_rows) & (rows["item"] == item_row)
    mean = float("nan")
    if trained.target.kind in ("rating", "regression") and is_theirs.any():
        mean = float(events.frame[trained.target.columns[0]][is_theirs].astype(float).mean())
    had = len(np.unique(rows["user"][is_theirs]))
    return {"n": float(len(near_rows)), "had": float(had), "mean": mean}
