"""Biases beside means: what a user or an item adds to every prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.model import AdditiveScorer, ColumnBiases
from tabcf.data.batches import batches_in_order, to_device
from tabcf.errors import RunError
from tabcf.inspection.named import named_rows
from tabcf.recommend.trained import Trained, column_of

__all__ = ["bias_gaps", "bias_table"]


def bias_table(
    trained: Trained, entity: str, *, mean_target: np.ndarray | None = None
) -> pd.DataFrame:
    """An entity's trained biases, highest first.

    A bias is what is left of an item's ratings once it is known who rated it: a film that only
    generous raters saw has a high mean and a low bias.

    Returns:
        Indexed by id: the label where there is one, `bias`, `mean` (of the training target,
        where it is a number) and `count`.

    Raises:
        RunError: The model has no biases, or the run no such entity.
    """
    if entity not in trained.encoder.entities:
        names = ", ".join(trained.encoder.entities) or "none"
        raise RunError(f"this run has no entity '{entity}'; known: {names}")
    if not isinstance(trained.model, ColumnBiases):
        raise RunError(
            f"{type(trained.model).__name__} learns no biases; dot_product_bias and bias do"
        )
    known = trained.encoder.entities[entity]
    bias = trained.model.column_bias(column_of(trained, entity)).detach().cpu().numpy()
    rows = known.row_of_index[1:]
    values = named_rows(trained, entity, rows)
    values["bias"] = bias[1:]
    if mean_target is not None:
        values["mean"] = mean_target[rows]
    values["count"] = known.n_events[rows]
    frame = pd.DataFrame(values).set_index(known.plan.id)
    return frame.iloc[np.argsort(-frame["bias"].to_numpy(), kind="stable")]


def bias_gaps(trained: Trained, entity: str = "item", *, min_count: int = 20) -> pd.DataFrame:
    """Where an item's bias and its mean rating disagree most, and why: who rated it.

    Over an item's training ratings the model's score is, on average, what the item adds to every
    prediction, plus what its raters add to all of theirs, plus how well their vectors meet. Two
    items of one mean differ in bias where one was rated by generous people, or by those whose
    taste it meets.

    Args:
        trained: A model with biases, such as `dot_product_bias`.
        entity: `item` or `user`.
        min_count: Those with fewer training events have a rank and are not listed.

    Returns:
        Indexed by id, the widest gap first: the label where there is one; `bias`, its own and
        those of its attributes, such as a year's; `mean`, the mean rating, and `count`; their ranks
        among all trained ones, highest first, `bias_rank` and `mean_rank`; `gap`, the first less
        the second, positive where the mean flatters; `raters`, the mean bias of who rated it, and
        `fit`, the mean of all products, each less that of all events; and `why`, in words.

    Raises:
        RunError: The model has no biases or does not split its score, or the run has no such
            entity or no numeric target.
    """
    if trained.target.kind not in ("rating", "regression"):
        raise RunError("bias gaps compare biases with mean ratings; this run has no numeric target")
    ids = bias_table(trained, entity).index
    parts = _mean_parts(trained, entity)
    known = trained.encoder.entities[entity]
    rows = known.rows_of_ids(ids)
    frame = pd.DataFrame(named_rows(trained, entity, rows)).set_index(known.plan.id)
    frame = frame.join(parts.reindex(rows).set_axis(frame.index))
    frame["count"] = known.n_events[rows]
    for name in ("bias", "mean"):
        frame[f"{name}_rank"] = frame[name].rank(ascending=False, method="first").astype(int)
    frame["gap"] = frame["bias_rank"] - frame["mean_rank"]
    frame = frame[frame["count"] >= min_count].copy()
    frame["why"] = _reasons(frame, entity)
    frame = frame.iloc[np.argsort(-frame["gap"].abs().to_numpy(), kind="stable")]
    label = [known.plan.label] if known.plan.label in frame.columns else []
    columns = ["bias", "mean", "count", "bias_rank", "mean_rank", "gap", "raters", "fit", "why"]
    return frame[[*label, *columns]]


def _mean_parts(trained: Trained, entity: str) -> pd.DataFrame:
    """By row, over its training events: `bias`, `raters`, `fit` and `mean`, the mean target."""
    model = trained.model
    if not isinstance(model, AdditiveScorer):
        raise RunError(f"{type(model).__name__} does not split its score into terms")
    source, layout = trained.events.learnable(), trained.encoder.layout
    table = trained.encoder.encode(source, is_training=True)
    sides = [column.side for column in layout.categorical]
    sides += [column.side for column in layout.continuous]
    sides += [column.side for column in layout.sets]
    other = "user" if entity == "item" else "item"
    name_of = {entity: "bias", other: "raters", "event": "fit"}
    found = {name: np.zeros(len(table)) for name in ("bias", "raters", "fit")}
    start = 0
    with torch.inference_mode():
        for inputs in batches_in_order(table, 1 << 16):
            stop = start + len(inputs.x_cat)
            for columns, value in model.terms(to_device(inputs, trained.device)):
                name = name_of[sides[columns[0]]] if len(columns) == 1 else "fit"
                found[name][start:stop] += value.cpu().double().numpy()
            start = stop
    frame = pd.DataFrame(found)
    frame["mean"] = source.frame[trained.target.columns[0]].astype(float).to_numpy()
    means = frame.groupby(table.rows[entity].numpy()).mean()
    means[["raters", "fit"]] -= frame[["raters", "fit"]].mean()
    return means


def _reasons(frame: pd.DataFrame, entity: str) -> list[str]:
    """In words, what moved the mean away from the bias: the larger of the two parts."""
    who = ("generous raters", "strict raters") if entity == "item" else ("liked", "disliked items")
    reasons = []
    for gap, raters, fit in zip(frame["gap"], frame["raters"], frame["fit"], strict=True):
        # A flattering mean comes of high parts, an unfair one of low parts.
        sign = 1.0 if gap > 0 else -1.0
        if max(sign * raters, sign * fit) <= 0:
            reasons.append("those with few events, held near 0, stand between")
        elif sign * raters >= sign * fit:
            reasons.append(who[0] if gap > 0 else who[1])
        elif gap > 0:
            reasons.append("met by those whose taste it fits")
        else:
            reasons.append("met by those whose taste it does not fit")
    return reasons
