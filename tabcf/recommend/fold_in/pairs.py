"""What newcomers' choices say of their rows, by a model's scores of pairs.

Dimension letters: n rows that are sought, O rows of the other side, P numbers of a row, E width of
vectors whose products are scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.data.batches import join, select, to_device
from tabcf.recommend.fold_in.rows import Responses, Rows
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
        other: `(M,)` int64: which of the O rows was chosen; one that comes twice counts twice.
        weight: `(M,)` float64: what each choice counts, or None for 1 each.
        blank: Columns of an event that brings nothing, one row.
    """

    side: str
    own: Inputs
    others: Inputs
    share: float
    owner: Tensor
    other: Tensor
    weight: Tensor | None
    blank: Inputs

    def __len__(self) -> int:
        return len(self.own.x_cat)

    @property
    def n_others(self) -> int:
        """O."""
        return len(self.others.x_cat)

    def counts(self) -> Tensor:
        """`(n, O)` float64: what each newcomer's choices of each other count, 0 for no choice."""
        counts = torch.zeros(len(self), self.n_others, dtype=torch.float64)
        weight = torch.ones(len(self.owner)).double() if self.weight is None else self.weight
        return counts.index_put_((self.owner, self.other), weight.double(), accumulate=True)

    def query(self, users: Inputs, device: torch.device) -> Query:
        """Users with an event that brings nothing."""
        rows = torch.zeros(len(users.x_cat), dtype=torch.int64)
        return Query(to_device(users, device), to_device(select(self.blank, rows), device))


class Products(NamedTuple):
    """What scores of newcomers are the products of.

    Shape:
        others: `(O, E)`: vectors of the other side.
        at_zero: `(n, E)`: the newcomers' vectors for rows of zeros, or `(1, E)` for all.
        per_number: `(n, P, E)`: what each number of a row adds, or `(1, P, E)` for all.
    """

    others: Tensor
    at_zero: Tensor
    per_number: Tensor


class FactoredPairs:
    """Newcomers of a model whose scores are products of vectors: all pairs, by matrix products.

    The newcomer's vector is linear in their row, so what it comes to is found once, from rows of
    zeros but for one.

    Args:
        rows: The newcomers' entity.
        choices: What is compared.
        rule: How scores turn into losses.
        products: What was found for the same others, and newcomers without columns but their ids.
    """

    def __init__(
        self, rows: Rows, choices: Choices, rule: Rule, products: Products | None = None
    ) -> None:
        self._rows, self._choices, self._rule = rows, choices, rule
        self.products = products or Products(self._of_others(), *self._linear())
        self._vectors, self._at_zero, self._per_number = self.products
        self._chosen = choices.counts()
        self._share = torch.where(self._chosen > 0, 1.0, choices.share).double()

    def of(self, rows: Tensor) -> FactoredPairs:
        number = torch.full((len(self._choices),), -1)
        number[rows] = torch.arange(len(rows))
        owner = number[self._choices.owner]
        kept, weight = owner >= 0, self._choices.weight
        choices = replace(
            self._choices,
            own=select(self._choices.own, rows),
            owner=owner[kept],
            other=self._choices.other[kept],
            weight=None if weight is None else weight[kept],
        )
        return FactoredPairs(self._rows, choices, self._rule)

    def judged(self, values: Tensor, given: FactoredPairs) -> float:
        scores = self._scores(values)
        is_held, was_given = self._chosen > 0, given._chosen > 0
        scores = scores.masked_fill(was_given & ~is_held, -torch.inf)
        gains = [_gains(own, held) for own, held in zip(scores, is_held, strict=True)]
        return 1 - float(torch.cat(gains).mean())

    def sloped(self, values: Tensor) -> tuple[Tensor, Tensor]:
        loss, slope, _, _ = self._rule(
            self._scores(values), self._chosen, self._share, self._everyone
        )
        by_vector = (slope.float() @ self._vectors).double()
        if len(self._per_number) == 1:
            return loss, by_vector @ self._per_number[0].T
        return loss, (self._per_number @ by_vector.unsqueeze(2)).squeeze(2)

    def about(self, values: Tensor) -> Tensor:
        """As if all newcomers' scores were those of their mean vector."""
        scores = self._vectors @ self._own(values).mean(0).float()
        shape = self._rule.shape(scores.double(), self._chosen, self._choices.share, self._everyone)
        inner = _spread(self._vectors, shape.curve, shape.centre)
        found = shape.times[:, None, None] * self._by_row(inner)
        if shape.per_choice:
            for j, counts in enumerate(self._chosen):
                places = torch.nonzero(counts).squeeze(1)
                curve = shape.per_choice * counts[places]
                own = self._per_number[j if len(self._per_number) > 1 else 0]
                found[j] += own @ _spread(self._vectors[places], curve, None) @ own.T
        return found

    def curvature(self, values: Tensor) -> Curvature:
        value, gradient = self.sloped(values)
        _, _, curves, centres = self._rule(
            self._scores(values), self._chosen, self._share, self._everyone
        )
        inner = torch.stack(
            [
                _spread(self._vectors, curve, None if centres is None else centres[j])
                for j, curve in enumerate(curves)
            ]
        )
        return Curvature(value, gradient, self._by_row(inner))

    @property
    def _everyone(self) -> Tensor:
        return torch.arange(self._choices.n_others)

    def _by_row(self, inner: Tensor) -> Tensor:
        """`(n, P, P)`, or one for all: curvatures by the row from those by the vector."""
        return self._per_number @ inner @ self._per_number.mT

    def _own(self, values: Tensor) -> Tensor:
        """`(n, E)`: the newcomers' vectors."""
        if len(self._per_number) == 1:
            return self._at_zero + values @ self._per_number[0]
        return self._at_zero + (values.unsqueeze(1) @ self._per_number).squeeze(1)

    def _scores(self, values: Tensor) -> Tensor:
        """`(n, O)`."""
        return (self._own(values).float() @ self._vectors.T).double()

    @torch.no_grad()
    def _of_others(self) -> Tensor:
        choices, device, model = self._choices, self._rows.device, self._rows.trained.model
        assert isinstance(model, FactoredScorer)
        if choices.side == "user":
            return model.item_factors(to_device(choices.others, device)).cpu()
        return model.query_factors(choices.query(choices.others, device)).cpu()

    @torch.no_grad()
    def _linear(self) -> tuple[Tensor, Tensor]:
        """`(n, E)` the newcomers' vectors for rows of zeros, `(n, P, E)` by number of the row.

        The second is `(1, P, E)` where it is the same for all newcomers.
        """
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
        per_number = vectors[:, 1:] - vectors[:, :1]
        is_shared = bool((per_number == per_number[:1]).all())
        return vectors[:, 0], per_number[:1] if is_shared else per_number


class SampledPairs:
    """Newcomers of any model: those whom they chose and a sample of the others, pair by pair."""

    def __init__(
        self, rule: Rule, responses: Responses, compared: Sequence[tuple[Tensor, Tensor, Tensor]]
    ) -> None:
        """Which others each newcomer is compared with, what choices count, and the shares."""
        self._rule = rule
        self._responses = responses
        self._compared = tuple(compared)
        self._sizes = [len(others) for others, _, _ in compared]
        self._owner = torch.arange(len(compared)).repeat_interleave(torch.tensor(self._sizes))

    @classmethod
    def drawn(cls, rows: Rows, choices: Choices, rule: Rule, rng: Generator) -> SampledPairs:
        """With others drawn at random beside those whom newcomers chose."""
        compared = []
        for counts in choices.counts():
            rest = torch.nonzero(counts == 0).squeeze(1)
            drawn = rest[torch.randperm(len(rest), generator=rng)[:N_OTHERS]]
            chosen = torch.nonzero(counts).squeeze(1)
            others = torch.cat([chosen, drawn])
            share = torch.full((len(others),), choices.share * len(rest) / max(len(drawn), 1))
            share[: len(chosen)] = 1.0
            compared.append((others, counts[others], share.double()))
        sizes = torch.tensor([len(others) for others, _, _ in compared])
        own = select(choices.own, torch.arange(len(compared)).repeat_interleave(sizes))
        other = select(choices.others, torch.cat([others for others, _, _ in compared]))
        blank = select(choices.blank, torch.zeros(len(other.x_cat), dtype=torch.int64))
        first, second = (own, other) if choices.side == "user" else (other, own)
        return cls(rule, rows.responses(join(first, second, blank)), compared)

    def of(self, rows: Tensor) -> SampledPairs:
        events = torch.nonzero(torch.isin(self._owner, rows)).squeeze(1)
        kept = [self._compared[row] for row in rows.tolist()]
        return SampledPairs(self._rule, self._responses.of(events), kept)

    def judged(self, values: Tensor, given: SampledPairs) -> float:
        raw = self._responses.outputs(values[self._owner])
        gains = []
        for scores, held, had in zip(
            raw[:, 0].split(self._sizes), self._compared, given._compared, strict=True
        ):
            is_held = held[1] > 0
            is_had = torch.isin(held[0], had[0][had[1] > 0]) & ~is_held
            gains.append(_gains(scores.masked_fill(is_had, -torch.inf), is_held))
        return 1 - float(torch.cat(gains).mean())

    def curvature(self, values: Tensor) -> Curvature:
        n, width = values.shape
        value, gradient = values.new_zeros(n), torch.zeros_like(values)
        hessian = values.new_zeros(n, width, width)
        raw, jacobian = self._responses.jacobian(values[self._owner])
        scores, slopes = raw[:, 0].split(self._sizes), jacobian[:, 0].split(self._sizes)
        for j, (others, counts, share) in enumerate(self._compared):
            value[j], slope, curve, centre = self._rule(scores[j], counts, share, others)
            gradient[j] = slope @ slopes[j]
            hessian[j] = _spread(slopes[j], curve, centre)
        return Curvature(value, gradient, hessian)


def _spread(vectors: Tensor, curve: Tensor, centre: Tensor | None) -> Tensor:
    """`(E, E)` float64: the sum of vectors' squares, weighted, about the mean by `centre`."""
    off = vectors if centre is None else vectors - centre.to(vectors) @ vectors
    return (off.T @ (curve.to(vectors)[:, None] * off)).double()


def _gains(scores: Tensor, is_held: Tensor) -> Tensor:
    """`(held,)`: each held one's discount 1 / log2(1 + rank), as in NDCG."""
    ranks = (scores[None] > scores[is_held][:, None]).sum(1) + 1
    gains: Tensor = 1 / torch.log2(1 + ranks.double())
    return gains
