"""What newcomers' choices say of their rows, by a model's scores of pairs.

Dimension letters: n rows that are sought, O rows of the other side, P numbers of a row, E width of
vectors whose products are scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.data.batches import join, select, to_device
from tabcf.recommend.fold_in.rows import Rows
from tabcf.recommend.fold_in.rules import Rule
from tabcf.recommend.fold_in.solver import Curvature

__all__ = ["N_OTHERS", "Choices", "FactoredPairs", "SampledPairs"]

# Others that stand for all whom a newcomer has no event with, where a model has to look at each.
N_OTHERS = 300


@dataclass(frozen=True, slots=True)
class Choices:
    """Newcomers, those of the other side that they are compared with, and whom they chose.

    Attributes:
        side: `user` or `item`: what the newcomers are.
        own: The newcomers' own columns, n rows; what they hold as their id does not matter.
        others: The other side's columns, O rows.
        share: How many each of the others stands for that was not chosen; 1 if all are there.
        owner: `(M,)` int64: whose choice it is.
        other: `(M,)` int64: which of the O rows was chosen.
        blank: Columns of an event that brings nothing, one row.
    """

    side: str
    own: Inputs
    others: Inputs
    share: float
    owner: Tensor
    other: Tensor
    blank: Inputs

    def __len__(self) -> int:
        return len(self.own.x_cat)

    @property
    def n_others(self) -> int:
        """O."""
        return len(self.others.x_cat)

    def chosen_by(self, number: int) -> Tensor:
        """`(O,)` booleans: whom one newcomer chose."""
        is_chosen = torch.zeros(self.n_others, dtype=torch.bool)
        is_chosen[self.other[self.owner == number]] = True
        return is_chosen

    def query(self, users: Inputs, device: torch.device) -> Query:
        """Users with an event that brings nothing."""
        rows = torch.zeros(len(users.x_cat), dtype=torch.int64)
        return Query(to_device(users, device), to_device(select(self.blank, rows), device))


class FactoredPairs:
    """Newcomers of a model whose scores are products of vectors: all pairs, by matrix products.

    The newcomer's vector is linear in their row, so what it comes to is found once, from rows of
    zeros but for one.
    """

    def __init__(self, rows: Rows, choices: Choices, rule: Rule) -> None:
        self._rows, self._choices, self._rule = rows, choices, rule
        self._vectors = self._of_others()
        self._at_zero, self._per_number = self._linear()
        self._is_chosen = [choices.chosen_by(j) for j in range(len(choices))]

    def judged(self, values: Tensor, given: FactoredPairs) -> float:
        own = self._at_zero + (values.unsqueeze(1) @ self._per_number).squeeze(1)
        gains = []
        for j, is_held in enumerate(self._is_chosen):
            scores = self._vectors @ own[j].float()
            is_had = given._is_chosen[j] & ~is_held
            gains.append(_gains(scores.masked_fill(is_had, -torch.inf), is_held))
        return 1 - float(torch.cat(gains).mean())

    def curvature(self, values: Tensor) -> Curvature:
        n, width = values.shape
        value, gradient = values.new_zeros(n), torch.zeros_like(values)
        hessian = values.new_zeros(n, width, width)
        vectors, everyone = self._vectors, torch.arange(self._choices.n_others)
        own = self._at_zero + (values.unsqueeze(1) @ self._per_number).squeeze(1)
        for j, is_chosen in enumerate(self._is_chosen):
            scores = (vectors @ own[j].float()).double()
            value[j], slope, curve, centre = self._rule(
                scores, is_chosen, self._share(is_chosen), everyone
            )
            off = vectors if centre is None else vectors - centre.float() @ vectors
            inner = (off.T @ (curve.float()[:, None] * off)).double()
            gradient[j] = self._per_number[j] @ (slope.float() @ vectors).double()
            hessian[j] = self._per_number[j] @ inner @ self._per_number[j].T
        return Curvature(value, gradient, hessian)

    def _share(self, is_chosen: Tensor) -> Tensor:
        return torch.where(is_chosen, 1.0, self._choices.share).double()

    @torch.no_grad()
    def _of_others(self) -> Tensor:
        choices, device, model = self._choices, self._rows.device, self._rows.trained.model
        assert isinstance(model, FactoredScorer)
        if choices.side == "user":
            return model.item_factors(to_device(choices.others, device)).cpu()
        return model.query_factors(choices.query(choices.others, device)).cpu()

    @torch.no_grad()
    def _linear(self) -> tuple[Tensor, Tensor]:
        """`(n, E)` the newcomers' vectors for rows of zeros, `(n, P, E)` by number of the row."""
        choices, device, width = self._choices, self._rows.device, self._rows.width
        rows = torch.cat([torch.zeros(1, width), torch.eye(width)])
        at_once = max(self._rows.n_slots // (width + 1), 1)
        found = []
        for numbers in torch.arange(len(choices)).split(at_once):
            own = select(choices.own, numbers.repeat_interleave(width + 1))
            with self._rows.holding(rows.repeat(len(numbers), 1)) as (model, index):
                assert isinstance(model, FactoredScorer)
                x_cat = own.x_cat.clone()
                x_cat[:, 0] = index.to(x_cat)
                own = own._replace(x_cat=x_cat)
                if choices.side == "user":
                    vectors = model.query_factors(choices.query(own, device))
                else:
                    vectors = model.item_factors(to_device(own, device))
            found.append(vectors.cpu().double().view(len(numbers), width + 1, -1))
        vectors = torch.cat(found)
        return vectors[:, 0], vectors[:, 1:] - vectors[:, :1]


class SampledPairs:
    """Newcomers of any model: those whom they chose and a sample of the others, pair by pair."""

    def __init__(self, rows: Rows, choices: Choices, rule: Rule, rng: Generator) -> None:
        self._rule = rule
        owners, others, marks, shares = [], [], [], []
        for j in range(len(choices)):
            is_chosen = choices.chosen_by(j)
            rest = torch.nonzero(~is_chosen).squeeze(1)
            drawn = rest[torch.randperm(len(rest), generator=rng)[:N_OTHERS]]
            chosen = torch.nonzero(is_chosen).squeeze(1)
            others.append(torch.cat([chosen, drawn]))
            marks.append(torch.arange(len(others[-1])) < len(chosen))
            share = torch.full((len(others[-1]),), choices.share * len(rest) / max(len(drawn), 1))
            share[: len(chosen)] = 1.0
            shares.append(share.double())
            owners.append(torch.full((len(others[-1]),), j))
        self._others, self._is_chosen, self._shares = others, marks, shares
        self._owner = torch.cat(owners)
        own = select(choices.own, self._owner)
        other = select(choices.others, torch.cat(others))
        blank = select(choices.blank, torch.zeros(len(self._owner), dtype=torch.int64))
        first, second = (own, other) if choices.side == "user" else (other, own)
        self._responses = rows.responses(join(first, second, blank))

    def judged(self, values: Tensor, given: SampledPairs) -> float:
        raw = self._responses.outputs(values[self._owner])
        gains = []
        for j, scores in enumerate(raw[:, 0].split([len(other) for other in self._others])):
            had = given._others[j][given._is_chosen[j]]
            is_had = torch.isin(self._others[j], had) & ~self._is_chosen[j]
            gains.append(_gains(scores.masked_fill(is_had, -torch.inf), self._is_chosen[j]))
        return 1 - float(torch.cat(gains).mean())

    def curvature(self, values: Tensor) -> Curvature:
        n, width = values.shape
        value, gradient = values.new_zeros(n), torch.zeros_like(values)
        hessian = values.new_zeros(n, width, width)
        raw, jacobian = self._responses.jacobian(values[self._owner])
        sizes = [len(other) for other in self._others]
        scores = raw[:, 0].split(sizes)
        slopes = jacobian[:, 0].split(sizes)
        for j in range(n):
            by_row = slopes[j]
            value[j], slope, curve, centre = self._rule(
                scores[j], self._is_chosen[j], self._shares[j], self._others[j]
            )
            off = by_row if centre is None else by_row - centre @ by_row
            gradient[j] = slope @ by_row
            hessian[j] = off.T @ (curve[:, None] * off)
        return Curvature(value, gradient, hessian)


def _gains(scores: Tensor, is_held: Tensor) -> Tensor:
    """`(held,)`: each held one's discount 1 / log2(1 + rank), as in NDCG."""
    ranks = (scores[None] > scores[is_held][:, None]).sum(1) + 1
    gains: Tensor = 1 / torch.log2(1 + ranks.double())
    return gains
