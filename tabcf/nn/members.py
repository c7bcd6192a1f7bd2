"""A model trained several times from other random weights: its members answer together.

An ensemble can do what all of its members can, so that it is built of parts, one an ability.

Dimension letters: M members, B rows or users, I items, N candidates, C categorical columns,
F continuous features, D factors of a member, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import (
    CandidateScorer,
    ColumnRows,
    ColumnVectors,
    ItemScorer,
    KnowsBiases,
    ReadsHistory,
    SetRows,
)
from tabcf.errors import DataError
from tabcf.nn.dot_product import DotProduct, DotProductBias
from tabcf.nn.embedding_nn import EmbeddingNN
from tabcf.nn.ensemble import DotProductMean
from tabcf.nn.look_up import can_be_looked_up_once, products_by_one_look_up
from tabcf.nn.tabular import TabularModel, in_range

__all__ = ["DotProductMembers", "Ensemble", "ensemble_of"]


def ensemble_of(members: Iterable[nn.Module]) -> Ensemble:
    """An ensemble of models of one kind, with the abilities that all of them have.

    Example:
        >>> pair = ensemble_of(DotProduct([3, 4], factors=2) for _ in range(2))
        >>> pair.each(torch.tensor([[1, 2]])).shape
        torch.Size([2, 1, 1])
    """
    found = list(members)
    if found and all(type(member) is DotProductBias for member in found):
        return DotProductBiasMembers(found)
    if found and all(type(member) is DotProduct for member in found):
        return DotProductMembers(found)
    parts = [part for ability, part in _PARTS if all(isinstance(m, ability) for m in found)]
    if all(type(member) in (TabularModel, EmbeddingNN) for member in found):
        parts.insert(0, _WithSetsTogether)
    return cast("Ensemble", type("Ensemble", (*parts, Ensemble), {})(found))


class Ensemble(nn.Module):
    """The mean of its members' outputs.

    Outputs are averaged as the loss reads them: in the target's units for an error of numbers,
    log-odds for a probability, which is the combination that suits cross-entropy (Wood et al.,
    2023, "A unified theory of diversity in ensemble learning").

    Args:
        members: Models of the same columns and outputs.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, K)`.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members):
            raise DataError("members: expected at least one model, got none")

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """The mean of the members' outputs."""
        return self.each(x_cat, x_cont, x_sets).mean(0)

    def each(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(M, B, K)`: each member's outputs."""
        return torch.stack([member(x_cat, x_cont, x_sets) for member in self.members])

    def able(self) -> list[Any]:
        """The members, whose abilities are known by the ensemble's own."""
        return list(self.members)


class _WithSetsTogether(Ensemble):
    def each(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(M, B, K)`: each member's outputs; in training sets are looked up once for all."""
        if not (self.training and x_sets):
            return super().each(x_cat, x_cont, x_sets)
        first, *others = self.able()
        sets = first.set_embeddings.select_for_all([m.set_embeddings for m in others], x_sets)
        return torch.stack(
            [
                in_range(member.mlp(member.joined(x_cat, x_cont, vectors)), member.y_range)
                for member, vectors in zip((first, *others), sets, strict=True)
            ]
        )


class _WithBiases(Ensemble):
    def bias_parameters(self) -> list[nn.Parameter]:
        """The members' biases and norms."""
        return [p for member in self.able() for p in member.bias_parameters()]


class _WithRows(Ensemble):
    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """A categorical column's rows in all members."""
        return [rows for member in self.able() for rows in member.column_rows(column)]


class _WithSetRows(Ensemble):
    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """A set column's rows in all members."""
        return [rows for member in self.able() for rows in member.set_rows(column)]


class _WithVectors(Ensemble):
    def column_vectors(self, column: int) -> Tensor:
        """A categorical column's vectors in all members, side by side."""
        return torch.cat([member.column_vectors(column) for member in self.able()], 1)


class _WithItems(Ensemble):
    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, K)`: the mean of the members' scores, of which one is held at a time."""
        first, *others = self.able()
        total: Tensor = first.score_items(query, items)
        for member in others:
            total = total + member.score_items(query, items)
        return total / len(self.members)


class _WithCandidates(Ensemble):
    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, K)`: the mean of the members' scores."""
        return torch.stack([m.score_candidates(query, items) for m in self.able()]).mean(0)


class _WithHistory(Ensemble):
    @property
    def reads_history(self) -> bool:
        """Always true."""
        return True


_PARTS: tuple[tuple[Any, type[Ensemble]], ...] = (
    (KnowsBiases, _WithBiases),
    (ColumnRows, _WithRows),
    (SetRows, _WithSetRows),
    (ColumnVectors, _WithVectors),
    (ItemScorer, _WithItems),
    (CandidateScorer, _WithCandidates),
    (ReadsHistory, _WithHistory),
)


class DotProductMembers(DotProductMean, _WithBiases, _WithRows, _WithSetRows):
    """The same for dot products, whose members' products are averaged before any range.

    So a mean of M products of width D is one product of width M · D, and an ensemble is scored,
    explained and folded in as a dot product is.
    """

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """The mean of the members' products, in the range."""
        return self.outputs(self._products(x_cat, x_cont, x_sets).mean(0))

    def each(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(M, B, 1)`: each member's outputs."""
        return self.outputs(self._products(x_cat, x_cont, x_sets))

    def terms(self, inputs: Inputs) -> list[tuple[tuple[int, ...], Tensor]]:
        """The means of the members' terms, each `(B,)`: together the score before any range."""
        found = [member.terms(inputs) for member in self.dot_products()]
        return [
            (same[0][0], torch.stack([value for _, value in same]).mean(0))
            for same in zip(*found, strict=True)
        ]

    def row_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]:
        """`(B, P)` what a column's rows in all members are multiplied by, and what is added."""
        parts = [m.row_terms(column, x_cat, x_cont, x_sets) for m in self.dot_products()]
        slopes, rests = zip(*parts, strict=True)
        return torch.cat(slopes, 1) / len(parts), torch.stack(rests).mean(0)

    def _products(
        self, x_cat: Tensor, x_cont: Tensor | None, x_sets: Sequence[Bag] | None
    ) -> Tensor:
        """`(M, B, 1)`: before any range; in training by one look-up for all members.

        Two ids alone are so few that copying tables would take longer.
        """
        members = self.dot_products()
        is_worth_it = not members[0].is_plain and not members[0].dropout.p
        if self.training and is_worth_it and all(map(can_be_looked_up_once, members)):
            return products_by_one_look_up(members, x_cat, x_cont, x_sets or ())
        return torch.stack([member.products(x_cat, x_cont, x_sets) for member in members])


class DotProductBiasMembers(DotProductMembers):
    """The same with biases, whose means are the ensemble's."""

    def column_bias(self, column: int) -> Tensor:
        """`(n,)`: the means of the members' biases of a categorical column."""
        return torch.stack([member.column_bias(column) for member in self.able()]).mean(0)
