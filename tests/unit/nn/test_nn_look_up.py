"""Sets that rows share are summed once, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.nn.dot_product import DotProductBias
from tabcf.nn.ensemble import DotProductEnsemble
from tabcf.nn.look_up import distinct_sets


def _sets_of(bag: Bag) -> list[tuple[list[int], list[float]]]:
    """Each row's values and weights."""
    weights = torch.ones(len(bag.values)) if bag.weights is None else bag.weights
    sizes = bag.lengths.tolist()
    values = [own.tolist() for own in bag.values.split(sizes)]
    return list(zip(values, [own.tolist() for own in weights.split(sizes)], strict=True))


def _bag(sets: list[list[int]], weights: Tensor | None = None) -> Bag:
    lengths = torch.tensor([len(own) for own in sets])
    values = torch.tensor([value for own in sets for value in own], dtype=torch.int32)
    return Bag(values, lengths.cumsum(0) - lengths, weights)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_rows_with_the_same_set_share_it(is_weighted: bool) -> None:
    sets = [[3, 1], [], [2], [3, 1], [], [2], [3, 1], [7, 7]]
    weights = torch.tensor([1.0, 2, 5, 1, 2, 5, 1, 2, 4, 4]) if is_weighted else None
    bag = _bag(sets, weights)
    found, which = distinct_sets(bag)
    assert which is not None
    assert len(found.offsets) == 4
    assert [_sets_of(found)[k] for k in which.tolist()] == _sets_of(bag)


def test_sets_of_the_same_sum_stay_apart() -> None:
    """Another order of values or other weights: the sums do not tell, and all rows stay."""
    turned = _bag([[1, 2], [2, 1], [1, 2], [2, 1]])
    assert distinct_sets(turned) == (turned, None)
    weighted = _bag([[1], [1], [1], [1]], torch.tensor([1.0, 2.0, 1.0, 2.0]))
    assert distinct_sets(weighted) == (weighted, None)


def test_few_rows_alike_are_not_worth_it() -> None:
    bag = _bag([[1], [2], [3], [1]])
    assert distinct_sets(bag) == (bag, None)


@pytest.mark.parametrize("norm", ["sqrt", "mean"])
def test_an_ensemble_is_the_mean_of_its_members(norm: str) -> None:
    rng = Generator().manual_seed(0)
    members = []
    for _ in range(6):
        member = DotProductBias(
            [4, 5], n_continuous=1, set_cardinalities=[9], factors=3, set_norm=norm
        )
        with torch.no_grad():
            for weights in member.parameters():
                weights.normal_(generator=rng)
        members.append(member)
    sets = [[1, 2, 8], [4], []]
    bag = _bag([sets[k % 3] for k in range(12)])
    x_cat = torch.randint(0, 4, (12, 2), generator=rng)
    x_cont = torch.randn(12, 1, generator=rng)
    each = torch.stack([member(x_cat, x_cont, [bag]) for member in members])
    model = DotProductEnsemble(members)
    torch.testing.assert_close(model(x_cat, x_cont, [bag]), each.mean(0))
    spread = each.var(0, unbiased=False).sqrt()
    torch.testing.assert_close(model.spread(x_cat, x_cont, [bag]), spread)
