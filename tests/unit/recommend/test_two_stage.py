"""What is found is put into order: empty places, ties, histories, and whom nobody knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from tabcf.contracts.inputs import Bag
from tabcf.data.batches import mapped
from tabcf.recommend.topk import Lists
from tabcf.recommend.two_stage import Found, reordered
from tests.unit.recommend.test_topk import blank, ids, trained

N_USERS, N_ITEMS = 5, 40


def in_order(run: Any, found: Found, k: int, seed: int = 0, **more: Any) -> list[Lists]:
    rng = Generator().manual_seed(seed)
    users, items = ids(torch.arange(N_USERS)), ids(torch.arange(N_ITEMS))
    return [*reordered(run, users, blank(N_USERS), items, k, rng, found, **more)]


def scores_of(run: Any) -> torch.Tensor:
    with torch.no_grad():
        pairs = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS))
        raw = run.model(pairs, torch.zeros(len(pairs), 0), ())
        return run.loss.decode(raw)["value"].view(N_USERS, N_ITEMS)


def everybody() -> np.ndarray:
    return np.ones(N_USERS, dtype=bool)


@given(seed=st.integers(0, 1000), k=st.integers(1, 12), n_blocks=st.integers(1, 3))
def test_the_order_is_a_sort_of_the_found_items_scores(seed: int, k: int, n_blocks: int) -> None:
    """Whatever the blocks that they come in, and with empty places at their ends."""
    run = trained(N_USERS, N_ITEMS, seed)
    rng = np.random.default_rng(seed)
    columns = np.stack([rng.permutation(N_ITEMS)[:8] for _ in range(N_USERS)])
    lengths = rng.integers(0, 9, N_USERS)
    columns[np.arange(8)[None] >= lengths[:, None]] = -1
    bounds = np.linspace(0, N_USERS, n_blocks + 1).astype(int)
    blocks = [
        Lists(slice(a, b), torch.from_numpy(columns[a:b]), torch.zeros(b - a, 8))
        for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    lists = in_order(run, Found(blocks, everybody()), k)
    scores = scores_of(run)
    assert [user for block in lists for user in range(N_USERS)[block.users]] == [*range(N_USERS)]
    found = torch.cat([block.columns for block in lists])
    shown = torch.cat([block.scores for block in lists])
    assert found.shape == (N_USERS, min(k, 8))
    for user in range(N_USERS):
        own = columns[user][columns[user] >= 0]
        expected = scores[user, own].sort(descending=True).values[:k]
        kept = found[user] >= 0
        assert int(kept.sum()) == len(expected)
        assert torch.allclose(shown[user][kept], expected, atol=1e-5)
        assert set(found[user][kept].tolist()) <= set(own.tolist())


def test_ties_are_in_random_order() -> None:
    run = trained(N_USERS, N_ITEMS, 0)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.zero_()
    lists = Lists(slice(0, N_USERS), torch.arange(30).expand(N_USERS, 30), torch.zeros(N_USERS, 30))
    firsts = [
        int(in_order(run, Found([lists], everybody()), 1, seed)[0].columns[0, 0])
        for seed in range(200)
    ]
    assert abs(np.mean(firsts) - 14.5) < 3


def test_whom_the_first_stage_does_not_know_gets_a_list_of_all_items_less_what_they_had() -> None:
    run = trained(N_USERS, N_ITEMS, 3)
    columns = torch.arange(6).repeat(N_USERS, 1)
    blocks = [
        Lists(slice(0, 2), columns[:2], torch.zeros(2, 6)),
        Lists(slice(2, 5), columns[2:], torch.zeros(3, 6)),
    ]
    is_known = np.array([True, False, True, False, True])
    best = scores_of(run).argsort(dim=1, descending=True)
    # Users 1 and 3 had the best item of all.
    seen = Bag(best[[1, 3], 0], torch.tensor([0, 0, 1, 1, 2]))
    lists = in_order(run, Found(blocks, is_known), 4, seen=seen)
    found = torch.cat([block.columns for block in lists])
    for user in range(N_USERS):
        if is_known[user]:
            assert set(found[user].tolist()) <= set(range(6))
        else:
            assert found[user].tolist() == best[user, 1:5].tolist()
    assert columns.eq(torch.arange(6)).all(), "what was found stays as it is"


@given(
    rows=st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=6),
    mapping=st.lists(st.integers(-1, 20), min_size=10, max_size=10),
)
def test_a_mapped_bag_is_each_rows_values_mapped(rows: list[list[int]], mapping: list[int]) -> None:
    values = [value for row in rows for value in row]
    lengths = torch.tensor([len(row) for row in rows])
    weights = torch.arange(len(values)).float()
    bag = Bag(torch.tensor(values, dtype=torch.int32), lengths.cumsum(0) - lengths, weights)
    found = mapped(bag, torch.tensor(mapping))
    expected = [[mapping[value] for value in row if mapping[value] >= 0] for row in rows]
    ends = [*found.offsets.tolist()[1:], len(found.values)]
    assert expected == [
        found.values[start:stop].tolist()
        for start, stop in zip(found.offsets.tolist(), ends, strict=True)
    ]
    assert found.weights is not None
    assert found.weights.tolist() == [i for i, v in enumerate(values) if mapping[v] >= 0]
