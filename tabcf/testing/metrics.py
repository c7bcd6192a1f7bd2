"""What every metric must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import MetricDefinition, RankedLists
from tabcf.contracts.inputs import Bag
from tabcf.contracts.target import TargetKind
from tabcf.data.batches import select_bag
from tabcf.plugin.registry import parse_options
from tabcf.testing.targets import perfect_prediction, target_of, target_rows

__all__ = ["MetricContract"]

_N_ROWS = 60


class MetricContract:
    """Subclass it with a `definition` and, where they are needed, `options` as in YAML.

    `bounds` are the lowest and highest number that a metric of hits or ranks gives a user.
    """

    definition: ClassVar[MetricDefinition]
    options: ClassVar[Any] = {}
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def test_it_is_a_finite_number(self) -> None:
        for kind in self._kinds():
            truth, right, wrong = _predictions(kind)
            for prediction in (right, wrong):
                value = float(self._compute(kind)(prediction, truth))
                assert value == value, f"{self._name(kind)}: not a number"
                assert abs(value) < float("inf"), f"{self._name(kind)}: {value}"

    def test_all_right_is_better_than_all_mixed_up(self) -> None:
        for kind in self._kinds():
            truth, right, wrong = _predictions(kind)
            best = float(self._compute(kind)(right, truth))
            worse = float(self._compute(kind)(wrong, truth))
            is_better = best > worse if self.definition.is_higher_better else best < worse
            assert is_better, f"{self._name(kind)}: {best} when right, {worse} when mixed up"

    def test_the_order_of_rows_says_nothing(self) -> None:
        for kind in self._kinds():
            truth, _, wrong = _predictions(kind)
            order = torch.randperm(_N_ROWS, generator=_rng(1))
            one = float(self._compute(kind)(wrong, truth))
            shuffled = {key: value[order] for key, value in wrong.items()}
            two = float(self._compute(kind)(shuffled, truth[order]))
            assert abs(one - two) < 1e-5, f"{self._name(kind)}: {one}, {two} in another order"

    def test_it_is_the_same_twice(self) -> None:
        for kind in self._kinds():
            truth, _, wrong = _predictions(kind)
            one, two = (float(self._compute(kind)(wrong, truth)) for _ in range(2))
            assert one == two, f"{self._name(kind)}: {one}, then {two}"

    def test_a_list_has_one_number_a_user(self) -> None:
        for hits, n_relevant in self._hits():
            values = self._of_hits(hits, n_relevant)
            assert values.shape == (len(hits),), f"{self._name()}: shape {tuple(values.shape)}"
            assert torch.isfinite(values).all(), f"{self._name()}: {values}"
            all_hit = torch.arange(hits.shape[1]) < n_relevant[:, None]
            low, high = self.bounds
            for found in (values, self._of_hits(all_hit, n_relevant)):
                is_within = bool(((found >= low) & (found <= high + 1e-6)).all())
                assert is_within, f"{self._name()}: outside of {self.bounds}: {found}"

    def test_a_users_number_does_not_hang_on_others(self) -> None:
        for hits, n_relevant in self._hits():
            order = torch.randperm(len(hits), generator=_rng(1))
            one = self._of_hits(hits, n_relevant)[order]
            two = self._of_hits(hits[order], n_relevant[order])
            assert torch.allclose(one, two), self._name()

    def test_hits_are_better_than_none(self) -> None:
        for hits, n_relevant in self._hits():
            all_hit = torch.arange(hits.shape[1]) < n_relevant[:, None]
            best = self._of_hits(all_hit, n_relevant)
            none = self._of_hits(torch.zeros_like(hits), n_relevant)
            is_better = best > none if self.definition.is_higher_better else best < none
            assert is_better.all(), f"{self._name()}: {best} with all hits, {none} with none"

    def test_ranks_have_one_number_a_user(self) -> None:
        for ranks, n_candidates in self._ranks():
            values = self._of_ranks(ranks, n_candidates)
            is_shape_right = values.shape == n_candidates.shape
            assert is_shape_right, f"{self._name('ranks')}: shape {tuple(values.shape)}"
            assert torch.isfinite(values).all(), f"{self._name('ranks')}: {values}"
            low, high = self.bounds
            is_within = bool(((values >= low) & (values <= high + 1e-6)).all())
            assert is_within, f"{self._name('ranks')}: outside of {self.bounds}: {values}"

    def test_the_order_of_ranks_says_nothing(self) -> None:
        for ranks, n_candidates in self._ranks():
            one = self._of_ranks(ranks, n_candidates)
            order = torch.randperm(len(n_candidates), generator=_rng(1))
            two = self._of_ranks(select_bag(ranks, order), n_candidates[order])
            assert torch.allclose(one[order], two), f"{self._name('ranks')}: of other users"
            by_rank = ranks.values.argsort(descending=True)
            falling = by_rank[ranks.row_of_value[by_rank].argsort(stable=True)]
            other = self._of_ranks(ranks._replace(values=ranks.values[falling]), n_candidates)
            assert torch.allclose(one, other), f"{self._name('ranks')}: of one user"

    def test_first_ranks_are_better_than_last(self) -> None:
        for ranks, n_candidates in self._ranks():
            rows = ranks.row_of_value
            first = torch.arange(len(rows)) - ranks.offsets[rows] + 1.0
            last = n_candidates[rows] + 1 - first
            best = self._of_ranks(ranks._replace(values=first.double()), n_candidates)
            worst = self._of_ranks(ranks._replace(values=last.double()), n_candidates)
            is_better = best > worst if self.definition.is_higher_better else best < worst
            assert is_better.all(), f"{self._name('ranks')}: {best} if first, {worst} if last"

    def test_lists_have_one_number_each_or_one_together(self) -> None:
        for lists in self._lists():
            values = self._of_lists(lists)
            is_shape_right = values.shape in ((), (len(lists.items),))
            assert is_shape_right, f"{self._name()}: shape {tuple(values.shape)}"
            assert torch.isfinite(values).all(), f"{self._name()}: {values}"

    def test_the_order_of_lists_says_nothing(self) -> None:
        for lists in self._lists():
            order = torch.randperm(len(lists.items), generator=_rng(1))
            one = self._of_lists(lists)
            assert lists.history is not None and lists.hits is not None
            other = replace(
                lists,
                items=lists.items[order],
                history=select_bag(lists.history, order),
                hits=lists.hits[order],
                obvious=_changed(lists.obvious, partial(_reordered, order)),
            )
            two = self._of_lists(other)
            assert torch.allclose(one[order] if one.ndim else one, two), self._name()

    def test_the_numbering_of_items_says_nothing(self) -> None:
        for lists in self._lists():
            item_at = torch.randperm(len(lists.counts), generator=_rng(1))
            renumbered = partial(_renumbered, item_at.argsort())
            history = lists.history
            assert history is not None
            moved = RankedLists(
                renumbered(lists.items),
                lists.counts[item_at],
                lists.n_users,
                history._replace(values=renumbered(history.values)),
                _changed(lists.attributes, partial(_reordered, item_at)),
                lists.hits,
                _changed(lists.obvious, renumbered),
            )
            assert torch.allclose(self._of_lists(lists), self._of_lists(moved)), self._name()

    def test_an_empty_list_is_no_trouble(self) -> None:
        for lists in self._lists():
            history, hits = lists.history, lists.hits
            assert history is not None and hits is not None
            end = history.offsets.new_tensor([len(history.values)])
            longer = replace(
                lists,
                items=_and_empty(lists.items),
                history=Bag(history.values, torch.cat([history.offsets, end])),
                hits=torch.cat([hits, torch.zeros_like(hits[:1])]),
                obvious=_changed(lists.obvious, _and_empty),
            )
            one, two = self._of_lists(lists), self._of_lists(longer)
            assert torch.allclose(one, two[:-1] if two.ndim else two), self._name()

    def _kinds(self) -> list[TargetKind]:
        if self.definition.needs != "predictions":
            return []
        return sorted(self.definition.targets - {"implicit"})

    def _compute(self, kind: TargetKind) -> Any:
        given = dict(self.options) if isinstance(self.options, dict) else {"": self.options}
        options = parse_options(self.definition.options, given)
        return self.definition.build(target_of(kind), options)

    def _hits(self) -> list[tuple[Tensor, Tensor]]:
        if self.definition.needs != "hits":
            return []
        rng = _rng(0)
        n_relevant = torch.randint(1, 6, (20,), generator=rng)
        hits = torch.rand(20, 10, generator=rng) < 0.3
        hits &= hits.cumsum(1) <= n_relevant[:, None]
        return [(hits, n_relevant)]

    def _of_hits(self, hits: Tensor, n_relevant: Tensor) -> Tensor:
        kind = min(self.definition.targets)
        result: Tensor = self._compute(kind)(hits, n_relevant)
        return result

    def _ranks(self) -> list[tuple[Bag, Tensor]]:
        if self.definition.needs != "ranks":
            return []
        rng = _rng(0)
        lengths = torch.randint(1, 6, (20,), generator=rng)
        n_candidates = torch.randint(30, 40, (20,), generator=rng)
        drawn = [torch.randperm(29, generator=rng)[:length] + 1.0 for length in lengths]
        # Some rank is shared: an item that is not relevant has the same score.
        values = torch.cat(drawn).double()
        values[::3] += 0.5
        return [(Bag(values, lengths.cumsum(0) - lengths), n_candidates)]

    def _of_ranks(self, ranks: Bag, n_candidates: Tensor) -> Tensor:
        result: Tensor = self._compute(min(self.definition.targets))(ranks, n_candidates)
        return result

    def _lists(self) -> list[RankedLists]:
        if self.definition.needs != "lists":
            return []
        n_lists, k, n_items, n_users = 20, 10, 30, 50
        rng = _rng(0)
        items = torch.rand(n_lists, n_items, generator=rng).topk(k).indices
        # Short lists end in empty places.
        lengths = torch.randint(2, k + 1, (n_lists, 1), generator=rng)
        items = items.masked_fill(torch.arange(k) >= lengths, -1)
        counts = torch.randint(0, n_users + 1, (n_items,), generator=rng)
        history = Bag(
            torch.randint(0, n_items, (3 * n_lists,), generator=rng), torch.arange(n_lists) * 3
        )
        genres = (torch.rand(n_items, 6, generator=rng) < 0.4).float()
        genres[:, 0] = 1.0
        hits = (torch.rand(n_lists, k, generator=rng) < 0.3) & (items >= 0)
        popular = torch.rand(n_lists, n_items, generator=rng).argsort(1)
        return [
            RankedLists(
                items,
                counts,
                n_users,
                history,
                lambda column: genres,
                hits,
                lambda length: popular[:, :length],
            )
        ]

    def _of_lists(self, lists: RankedLists) -> Tensor:
        result: Tensor = self._compute(min(self.definition.targets))(lists)
        return result

    def _name(self, kind: str = "lists") -> str:
        return f"metric {self.definition.name} of {kind}"


def _changed(
    given: Callable[[Any], Tensor] | None, change: Callable[[Tensor], Tensor]
) -> Callable[[Any], Tensor]:
    """What was given, with its result changed."""
    assert given is not None
    return lambda argument: change(given(argument))


def _reordered(order: Tensor, values: Tensor) -> Tensor:
    return values[order]


def _renumbered(number_of: Tensor, items: Tensor) -> Tensor:
    return torch.where(items >= 0, number_of[items], -1)


def _and_empty(lists: Tensor) -> Tensor:
    return torch.cat([lists, torch.full_like(lists[:1], -1)])


def _rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def _predictions(kind: TargetKind) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The truth in its own units, a perfect prediction, and the same mixed up among rows."""
    info, target = target_of(kind), target_rows(kind, _N_ROWS, _rng(0))
    right = perfect_prediction(kind, target)
    truth = target
    if kind in ("regression", "rating"):
        truth = target * info.scale[0] + info.center[0]
    order = torch.randperm(_N_ROWS, generator=_rng(2))
    return truth, right, {key: value[order] for key, value in right.items()}
