"""What a ranking model's newcomers are compared with: all of the other side, or a sample."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.model import FactoredScorer, ItemScorer
from tabcf.data.batches import select, to_device
from tabcf.data.weights import event_weights
from tabcf.losses.whole_matrix import ImplicitMSE
from tabcf.nn.scoring import score_by_pairs
from tabcf.recommend.fold_in.given import OTHER
from tabcf.recommend.fold_in.pairs import Choices, FactoredPairs, Products, SampledPairs
from tabcf.recommend.fold_in.rows import Rows
from tabcf.recommend.fold_in.rules import Rule, ShareOfUsers, Shares, Squares
from tabcf.recommend.fold_in.solver import Likelihood

__all__ = ["Ranking"]

# Of more than this many others all that were not chosen are sampled too: 20,000 rows of 64 numbers
# make a step of some 100 MFLOP.
_MOST_OTHERS = 20_000
_USERS_AT_ONCE = 64


class Ranking:
    """What a trained ranking model's newcomers are compared with.

    Whatever the model's loss of chosen items, new users are found by the softmax over the
    catalogue, which losses of sampled items estimate; a loss of the whole matrix is kept.

    Args:
        rows: The newcomers' entity, with its model.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._trained = rows.trained
        self._side = rows.entity
        entities = self._trained.encoder.entities
        self._items = entities["item"].row_of_index[1:]
        self._users = entities["user"].row_of_index[1:]
        self._products: Products | None = None
        # By user row; NaN where it was not asked for yet.
        self._log_totals = torch.full((len(entities["user"]),), torch.nan, dtype=torch.float64)

    @property
    def n_others(self) -> int:
        """How many of the other side newcomers are compared with, at most."""
        return min(len(self._items if self._side == "user" else self._users), _MOST_OTHERS)

    def likelihood(
        self, own: Inputs, owner: Tensor, other: Tensor, weight: Tensor | None = None
    ) -> Likelihood:
        """What newcomers' choices say of their rows.

        Args:
            own: The newcomers' own columns.
            owner: `(M,)` int64: whose choice it is.
            other: `(M,)` int64: the row of the item, or user; those without training do not count.
            weight: `(M,)`: what each choice counts; 1 each without it.
        """
        rows, share = self._sampled(other)
        place = np.full(int(max(rows.max(initial=0), other.max() if len(other) else 0)) + 1, -1)
        place[rows] = np.arange(len(rows))
        chosen = torch.from_numpy(place)[other]
        is_trained = chosen >= 0
        encoder = self._trained.encoder
        choices = Choices(
            self._side,
            own,
            select(encoder.tables[OTHER[self._side]].inputs, torch.from_numpy(rows)),
            share,
            owner[is_trained],
            chosen[is_trained],
            None if weight is None else weight[is_trained],
            encoder.events_with({}, np.zeros(1, dtype=np.int32)),
        )
        rule = self._rule(choices, torch.from_numpy(rows))
        model = self._trained.model
        if isinstance(model, FactoredScorer) and model.is_linear:
            found = FactoredPairs(self._rows, choices, rule, self._products)
            has_id_alone = own.x_cat.shape[1] == 1 and not own.x_cont.shape[1] and not own.x_sets
            if has_id_alone and share == 1.0:
                at_zero = found.products.at_zero[:1]
                self._products = found.products._replace(at_zero=at_zero)
            return found
        rng = Generator().manual_seed(self._trained.seed)
        return SampledPairs.drawn(self._rows, choices, rule, rng)

    def _sampled(self, chosen: Tensor) -> tuple[np.ndarray, float]:
        """Rows of the other side, and how many each stands for: all, or a sample of many."""
        rows = self._items if self._side == "user" else self._users
        if len(rows) <= _MOST_OTHERS:
            return rows, 1.0
        rng = np.random.default_rng(self._trained.seed)
        drawn = rng.choice(rows, _MOST_OTHERS, replace=False)
        return np.union1d(drawn, np.intersect1d(chosen.numpy(), rows)), len(rows) / len(drawn)

    def _rule(self, choices: Choices, rows: Tensor) -> Rule:
        loss = self._trained.loss
        if isinstance(loss, ImplicitMSE):
            return Squares(loss.unobserved_weight)
        if choices.side == "user":
            return Shares()
        return ShareOfUsers(self._totals(choices, rows), self._n_chosen[rows])

    @cached_property
    def _n_chosen(self) -> Tensor:
        """`(users,)` float64, by row: what each one's training events count together."""
        events = self._trained.events
        rows = self._trained.event_rows["user"][events.is_positive]
        weight = event_weights(events.learnable(), self._trained.weight)
        return torch.from_numpy(
            np.bincount(
                rows,
                weights=None if weight is None else weight.numpy(),
                minlength=len(self._log_totals),
            ).astype(np.float64)
        )

    def _totals(self, choices: Choices, rows: Tensor) -> Tensor:
        """`(O,)`: the log of the sum over trained items of exp(score), for each of the users."""
        device = self._rows.device
        places = torch.nonzero(self._log_totals[rows].isnan()).squeeze(1)
        if len(places):
            items = self._trained.encoder.tables["item"].inputs
            items = to_device(select(items, torch.from_numpy(self._items)), device)
            for part in places.split(_USERS_AT_ONCE):
                query = choices.query(select(choices.others, part), device)
                self._log_totals[rows[part]] = _log_totals(self._trained.model, query, items)
        return self._log_totals[rows]


@torch.no_grad()
def _log_totals(model: nn.Module, query: Query, items: Inputs) -> Tensor:
    """`(O,)` float64: the log of the sum over items of exp(score), for each user of the query."""
    if isinstance(model, ItemScorer):
        raw = model.score_items(query, items)
    else:
        raw = score_by_pairs(model, query, items)
    return raw[:, :, 0].cpu().double().logsumexp(1)
