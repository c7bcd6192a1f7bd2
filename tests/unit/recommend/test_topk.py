from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

import tabcf
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.contracts.target import TargetInfo
from tabcf.data.conditions import matching
from tabcf.data.encoder import Encoder
from tabcf.data.sources import Source
from tabcf.errors import DataError
from tabcf.losses import MSE
from tabcf.nn import DotProductBias
from tabcf.recommend.rules import Cap, capped
from tabcf.recommend.topk import Lists, top_items
from tabcf.recommend.trained import Trained
from tabcf.testing import tiny_ratings


def trained(n_users: int, n_items: int, seed: int, **options: Any) -> Trained:
    torch.manual_seed(seed)
    model = DotProductBias([n_users, n_items], factors=4, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    target = TargetInfo("rating", ("y",), levels=(1.0, 5.0), center=(3.0,), scale=(2.0,))
    return Trained(Encoder([], {}), model.eval(), MSE(target), target)


def ids(rows: torch.Tensor) -> Inputs:
    return Inputs(rows[:, None], torch.zeros(len(rows), 0))


def blank(n: int) -> Inputs:
    return Inputs(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    n_users=st.integers(1, 12),
    n_items=st.integers(1, 700),
    k=st.integers(1, 12),
    y_range=st.sampled_from([None, (0.0, 6.0)]),
)
def test_lists_are_a_sort_of_all_scores_without_what_was_seen(
    seed: int, n_users: int, n_items: int, k: int, y_range: tuple[float, float] | None
) -> None:
    """By runs of columns and by whole blocks, with items seen and with few left."""
    run = trained(n_users, n_items, seed, y_range=y_range)
    rng = np.random.default_rng(seed)
    n_seen = rng.integers(0, n_items + 1, n_users)
    seen = [rng.permutation(n_items)[:n] for n in n_seen]
    bag = Bag(torch.from_numpy(np.concatenate(seen)), torch.from_numpy(np.cumsum(n_seen) - n_seen))
    users, items = ids(torch.arange(n_users)), ids(torch.arange(n_items))
    k = min(k, n_items)
    (found,) = top_items(
        run, users, blank(n_users), items, k, Generator().manual_seed(seed), seen=bag
    )
    with torch.no_grad():
        pairs = torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items))
        raw = run.model(pairs, torch.zeros(len(pairs), 0), ())
        scores = run.loss.decode(raw)["value"].view(n_users, n_items)
    for user in range(n_users):
        own = scores[user].clone()
        own[torch.from_numpy(seen[user])] = -torch.inf
        expected = own.sort(descending=True).values[:k]
        expected = expected[expected > -torch.inf]
        columns = found.columns[user]
        kept = columns[columns >= 0]
        assert len(kept) == len(expected)
        assert len(set(kept.tolist())) == len(kept)
        assert torch.allclose(own[kept], expected, atol=1e-5)
        assert torch.allclose(found.scores[user, : len(kept)], expected, atol=1e-5)


def test_the_way_by_runs_is_taken_where_there_are_many_items() -> None:
    run = trained(3, 2000, 0)
    assert isinstance(run.model, FactoredScorer)
    users, items = ids(torch.arange(3)), ids(torch.arange(2000))
    factors = run.model.item_factors(items)
    query = run.model.query_factors(Query(users, blank(3)))
    with torch.no_grad():
        assert torch.allclose(
            query @ factors.T,
            run.model.score_items(Query(users, blank(3)), items).squeeze(2),
            atol=1e-5,
        )


@pytest.mark.parametrize("n_users", [1, 8])
def test_ties_are_in_random_order(n_users: int) -> None:
    """All items are equal: each has the same chance of a place, whatever its column."""
    run = trained(2, 1000, 0)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.zero_()
    users, items = ids(torch.zeros(n_users, dtype=torch.long)), ids(torch.arange(1000))
    means = []
    for seed in range(200):
        (found,) = top_items(run, users, blank(n_users), items, 10, Generator().manual_seed(seed))
        means.append(float(found.columns[0].float().mean()))
    assert abs(np.mean(means) - 499.5) < 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year >= 1990", [False, True, False]),
        ("year < 1990 and genres has War", [True, False, False]),
        ("title == 'Toy Story'", [False, True, False]),
        ("title != Casablanca", [False, True, False]),
        ("genres has Com", [False, False, False]),
        ("year != 1942", [False, True, False]),
    ],
)
def test_conditions(text: str, expected: list[bool]) -> None:
    """A missing value fulfils none of them."""
    frame = pd.DataFrame(
        {
            "year": [1942.0, 1995.0, None],
            "genres": ["Drama|War", "Comedy", None],
            "title": ["Casablanca", "Toy Story", None],
        }
    )
    assert matching(Source(frame, "films"), text).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("year", "where: expected such as 'year >= 1990'"),
        ("yaer > 3", "no column 'yaer'; did you mean 'year'"),
        ("title > Z", "where: title > Z: expected a number"),
        ("__import__('os') == 1", "no column"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        matching(Source(pd.DataFrame({"year": [1], "title": ["a"]}), "films"), text)


def test_caps_go_from_the_top_down() -> None:
    lists = Lists(slice(0, 1), torch.tensor([[3, 1, 0, 2, -1]]), torch.tensor([[5.0, 4, 3, 2, 0]]))
    cap = Cap(1, [["a"], ["a", "b"], [], ["a"]])
    found = capped(lists, [cap], 3)
    assert found.columns.tolist() == [[3, 2, -1]]
    assert found.scores.tolist() == [[5.0, 2.0, 0.0]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    folder = tmp_path_factory.mktemp("topk")
    items = pd.DataFrame(
        {"item_id": range(20), "year": range(1980, 2000), "kind": ["a", "a", "b", "c"] * 5}
    )
    items.to_csv(Path(folder) / "items.csv", index=False)
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {
            "user": {"id": "user_id"},
            "item": {"id": "item_id", "table": str(folder / "items.csv")},
        },
        "model": {"dot_product": {"factors": 4}},
        "train": {"epochs": 2},
    }
    return tabcf.fit(spec, tiny_ratings())


def test_lists_hold_what_is_allowed(run: tabcf.Run) -> None:
    lists = run.recommend([0, 1], k=20, exclude_seen=False, where="year >= 1990 and kind == a")
    assert set(lists["item_id"]) == {i for i in range(10, 20) if i % 4 in (0, 1)}
    lists = run.recommend([0, 1], k=20, exclude_seen=False, deny=[3, 4])
    assert set(lists["item_id"]) == set(range(20)) - {3, 4}
    lists = run.recommend(0, k=20, exclude_seen=False, max_per={"kind": 2})
    assert lists["item_id"].map(lambda i: "aabc"[i % 4]).value_counts().to_dict() == {
        "a": 2,
        "b": 2,
        "c": 2,
    }
    whole = run.recommend(0, k=20, exclude_seen=False)
    assert lists["score"].iloc[0] == whole["score"].iloc[0]


def test_nothing_left_is_said(run: tabcf.Run) -> None:
    with pytest.raises(DataError, match="where: no item is left to recommend"):
        run.recommend(0, where="year > 3000")
    with pytest.raises(DataError, match="max_per: kind: expected a positive number, got 0"):
        run.recommend(0, max_per={"kind": 0})


def test_what_one_run_finds_another_puts_into_order(run: tabcf.Run) -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {"day": {"date_part": {"from": "timestamp", "part": "weekday"}}},
        "model": {"embedding_nn": {"layers": [8]}},
        "train": {"epochs": 2},
    }
    network = tabcf.fit(spec, tiny_ratings())
    users, context = [0, 1, 999], {"timestamp": 1_000_000_000}
    found = run.recommend(users, k=6)
    lists = network.recommend(users, k=4, retrieve=run, n_retrieved=6, context=context)
    for user in users:
        own = found.loc[found["user_id"] == user, "item_id"]
        chosen = lists[lists["user_id"] == user]
        assert len(chosen) == min(4, len(own))
        assert set(chosen["item_id"]) <= set(own)
        alone = network.recommend(
            user, k=4, candidates=list(own), context=context, exclude_seen=False
        )
        assert chosen["item_id"].tolist() == alone["item_id"].tolist()
        assert np.allclose(chosen["score"], alone["score"], atol=1e-5)


def test_a_first_run_without_the_items_is_refused(run: tabcf.Run) -> None:
    other = tiny_ratings()
    other["item_id"] += 1000
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "popular",
    }
    first = tabcf.fit(spec, other)
    with pytest.raises(
        DataError, match="retrieve: the first of the two models knows none of the items"
    ):
        run.recommend(0, retrieve=first)
