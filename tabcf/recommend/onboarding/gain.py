"""How much a new user's answer would tell of their row, from the posterior of fold-in.

Dimension letters: n new users, m items, P numbers of a row, K outputs of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.selector import Answers, PastAnswers
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import join, select
from tabcf.data.entities import Entity
from tabcf.data.sources import Source
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.pointwise import Pointwise, is_scaled
from tabcf.recommend.fold_in.solver import Posterior

__all__ = ["InformationGain", "new_users"]

# Numbers of the derivatives or curvatures that are held at a time: 64 MB.
_BUDGET = 1 << 23
# An item's own noise counts n / (n + 50), n being its answers, and that of all items the rest.
_STRENGTH = 50.0


class InformationGain:
    """Nats that answers on items would tell of users' rows, after the answers they have given.

    By Laplace's approximation the row is normal with covariance Σ, and an answer adds the curvature
    H of its loss to Σ⁻¹: the gain is `½ log det(1 + H Σ)`, for one output with derivative j and
    noise variance v `½ log(1 + jᵀ Σ j / v)`.

    Numbers have a noise of each item's own: the mean square of what is left of its answers without
    the item's and the user's mean, drawn towards that of all. A model of choices has the same
    curvature whatever is chosen; there the slope g of the log of the item's share in the softmax
    stands in, with `½ log(1 + gᵀ Σ g)`, since its mean square is the curvature.

    Args:
        fold: What finds rows of new users.
        past: What training users said of the items.
        users: Attributes of the n users, or of one for any number of users like them.
    """

    def __init__(self, fold: FoldIn, past: PastAnswers, users: Source) -> None:
        self._fold = fold
        trained = fold.trained
        encoder, self._target = trained.encoder, trained.target
        self._users = encoder.encode_entities("user", users).inputs
        self._items = encoder.tables["item"].inputs
        self._blank = encoder.events_with({}, np.zeros(1, dtype=np.int32))
        self._row = {item: row for row, item in enumerate(past.items, start=1)}
        mean, self._noise = _means_and_noise(past)
        self._mean = self._encoded(mean)

    def __call__(
        self,
        asked: Sequence[Sequence[Any]],
        answers: Sequence[Answers],
        among: Sequence[Any],
    ) -> np.ndarray:
        """`(n, m)`, see `tabcf.contracts.selector.Gain`."""
        rows = torch.tensor([self._row[item] for item in among])
        posterior = self._posterior(asked, answers)
        width = posterior.mean.shape[1]
        held = width if self._is_ranking else width * width
        n_at_once = max(_BUDGET // max(len(rows) * held, 1), 1)
        gains = [
            self._gains(numbers, posterior, rows)
            for numbers in torch.arange(len(asked)).split(n_at_once)
        ]
        return torch.cat(gains).numpy()

    @property
    def _is_ranking(self) -> bool:
        return self._fold.trained.loss.form != "pointwise"

    def _posterior(self, asked: Sequence[Sequence[Any]], answers: Sequence[Answers]) -> Posterior:
        given = [
            (user, self._row[item], value)
            for user, (items, own) in enumerate(zip(asked, answers, strict=True))
            for item, value in zip(items, own, strict=True)
            if value is not None and not (self._target.kind == "implicit" and value < 0.5)
        ]
        users, items, values = zip(*given, strict=True) if given else ((), (), ())
        # Row 0 is nobody's.
        rows = self._user_rows(torch.arange(len(asked)))
        own = select(self._users, torch.cat([rows.new_zeros(1), rows]))
        table = Table(
            {
                "user": torch.tensor(users, dtype=torch.int32) + 1,
                "item": torch.tensor(items, dtype=torch.int32),
            },
            select(self._blank, torch.zeros(len(given), dtype=torch.int64)),
            {"user": EntityTable(own), "item": EntityTable(self._items)},
            self._encoded(torch.tensor(values, dtype=torch.float64)),
        )
        return self._fold.solve(table, len(asked))

    def _user_rows(self, numbers: Tensor) -> Tensor:
        """Rows of the users' table, whose row 0 is blank."""
        return torch.ones_like(numbers) if len(self._users.x_cat) == 2 else numbers + 1

    def _encoded(self, values: Tensor) -> Tensor:
        if self._target.kind in ("rating", "regression"):
            values = (values - self._target.center[0]) / self._target.scale[0]
        return values.float()

    def _gains(self, numbers: Tensor, posterior: Posterior, rows: Tensor) -> Tensor:
        """`(n, m)` of some of the users, by their numbers, and items, by their rows."""
        n, m = len(numbers), len(rows)
        owner, item = numbers.repeat_interleave(m), rows.repeat(n)
        values, covariance = posterior.mean[owner], posterior.covariance[numbers]
        inputs = self._pairs(owner, item)
        if self._is_ranking:
            raw, derivatives = self._fold.responses(inputs).jacobian(values)
            slope = derivatives[:, 0].view(n, m, -1)
            share = raw[:, 0].double().view(n, m).softmax(1)
            slope = slope - share.unsqueeze(1) @ slope
            return _half_log(((slope @ covariance) * slope).sum(2))
        likelihood = Pointwise(
            self._fold.responses(inputs),
            self._fold.loss,
            self._mean[item],
            None,
            torch.arange(n * m),
            n * m,
            noise=self._fold.noise,
            is_scaled=is_scaled(self._fold.loss),
        )
        curvature = likelihood.curvature(values).hessian.view(n, m, *covariance.shape[1:])
        curvature = curvature / self._noise[rows][:, None, None]
        if self._fold.trained.loss.d_out == 1:
            # Of rank one, so that the determinant of 1 + H Σ is 1 plus the trace of H Σ.
            return _half_log(torch.einsum("nmpq,npq->nm", curvature, covariance))
        eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype)
        volume: Tensor = torch.linalg.slogdet(eye + curvature @ covariance[:, None]).logabsdet
        return volume / 2

    def _pairs(self, owner: Tensor, item: Tensor) -> Inputs:
        return join(
            select(self._users, self._user_rows(owner)),
            select(self._items, item),
            select(self._blank, torch.zeros(len(owner), dtype=torch.int64)),
        )


def _half_log(ratio: Tensor) -> Tensor:
    return ratio.clamp_min(0).log1p() / 2


def _means_and_noise(past: PastAnswers) -> tuple[Tensor, Tensor]:
    """`(1 + I,)` each item's mean answer, and its noise as a multiple of that of all; row 0 blank.

    Only numbers have noise; everything else has 1.
    """
    n_items, overall = len(past.items) + 1, past.value.mean() if len(past.value) else 0.0
    item = past.item + 1
    counts = np.bincount(item, minlength=n_items)
    sums = np.bincount(item, weights=past.value, minlength=n_items)
    mean = np.where(counts > 0, sums / counts.clip(1), overall)
    noise = np.ones(n_items)
    if past.target.kind in ("rating", "regression") and len(past.value):
        off = past.value - mean[item]
        by_user = np.bincount(past.user, weights=off) / np.bincount(past.user)
        square = (off - by_user[past.user]) ** 2
        squares = np.bincount(item, weights=square, minlength=n_items)
        typical = max(float(square.mean()), 1e-12)
        noise = (squares / typical + _STRENGTH) / (counts + _STRENGTH)
    return torch.from_numpy(mean), torch.from_numpy(noise)


def new_users(entity: Entity, n: int, attributes: Source | None = None) -> Source:
    """Users with ids that nobody has, with the attributes of as many rows where some are given."""
    taken = entity.ids.values
    ids: list[Any]
    if entity.ids.kind == "int":
        first = int(taken.max(initial=0)) + 1
        ids = list(range(first, first + n))
    else:
        known = set(taken.tolist())
        names = (f"new {number}" for number in range(1, len(known) + n + 1))
        ids = [name for name in names if name not in known][:n]
    frame = pd.DataFrame({entity.plan.id: ids})
    if attributes is None:
        return Source(frame, "new users")
    given = attributes.frame.drop(columns=entity.plan.id, errors="ignore")
    return Source(pd.concat([frame, given], axis=1), attributes.name, attributes.is_text)
