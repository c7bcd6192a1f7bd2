from __future__ import annotations

import copy
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError, MissingExtraError, RunError
from tabcf.recommend.index import ItemIndex, KeptIndex, build_index, choice
from tabcf.recommend.index.build import measure_index
from tabcf.recommend.recommender import recommend
from tabcf.recommend.trained import Trained
from tabcf.testing import tiny_ratings

pytest.importorskip("hnswlib")

N_ITEMS, N_USERS, WIDTH = 5000, 300, 16


def around(centres: torch.Tensor, n: int, rng: torch.Generator) -> torch.Tensor:
    """Vectors around centres drawn at random."""
    chosen = centres[torch.randint(len(centres), (n,), generator=rng)]
    return chosen + 0.3 * torch.randn(n, centres.shape[1], generator=rng)


@pytest.fixture(scope="module")
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    """Users and items around the same 50 centres."""
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(50, WIDTH, generator=rng)
    return around(centres, N_USERS, rng), around(centres, N_ITEMS, rng)


@pytest.fixture(scope="module")
def index(vectors: tuple[torch.Tensor, torch.Tensor]) -> ItemIndex:
    return ItemIndex.of_vectors(vectors[1])


def with_index(trained: Trained, index: ItemIndex) -> Trained:
    return replace(trained, index=KeptIndex.of(index))


@pytest.fixture(scope="module")
def trained(vectors: tuple[torch.Tensor, torch.Tensor]) -> Trained:
    """A run of as many users and items, one event each, with the clustered vectors put in."""
    rng = np.random.default_rng(0)
    n = N_ITEMS
    events = pd.DataFrame(
        {
            "user_id": np.arange(n) % N_USERS,
            "item_id": rng.permutation(n),
            "timestamp": np.arange(n),
        }
    )
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product": {"factors": WIDTH}},
        "train": {"epochs": 1},
    }
    run = tabcf.fit(spec, events)
    model = run.trained.model
    for column, own in enumerate(vectors):
        table = model.column_vectors(column)
        with torch.no_grad():
            table[1:] = own[: len(table) - 1, : table.shape[1]]
    return run.trained


def test_most_of_the_exact_lists_are_found(
    index: ItemIndex, vectors: tuple[torch.Tensor, torch.Tensor]
) -> None:
    users, items = vectors
    labels, products = index.query(users, 100)
    exact = (users @ items.T).topk(100).indices
    pairs = zip(labels.tolist(), exact.tolist(), strict=True)
    shares = [len(set(mine) & set(best)) / 100 for mine, best in pairs]
    assert np.mean(shares) >= 0.95
    assert index.share_found(users, 100) == pytest.approx(np.mean(shares), abs=1e-3)
    assert torch.allclose(products, (users @ items.T).gather(1, labels), atol=1e-4)
    assert bool((products.diff(dim=1) <= 0).all())


def test_what_was_seen_is_never_listed(
    index: ItemIndex, vectors: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """The best ones are seen, by some users nearly all items, by some none."""
    users, items = vectors[0][:40], vectors[1]
    order = (users @ items.T).argsort(dim=1, descending=True)
    n_seen = [0, 1, 7, 300, N_ITEMS - 20, N_ITEMS, 64, 2000] * 5
    seen = [order[user, :n] for user, n in enumerate(n_seen)]
    bag = Bag(torch.cat(seen), torch.tensor([0, *n_seen[:-1]]).cumsum(0))
    labels, products = index.query(users, 50, seen=bag)
    for user, own in enumerate(seen):
        found = labels[user][labels[user] >= 0].tolist()
        assert len(found) == len(set(found)) == min(50, N_ITEMS - n_seen[user])
        assert not set(found) & set(own.tolist())
        assert bool((products[user][labels[user] < 0] == -torch.inf).all())


def test_the_same_vectors_give_the_same_file(
    index: ItemIndex, vectors: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    index.save(tmp_path / "a")
    ItemIndex.of_vectors(vectors[1]).save(tmp_path / "b")
    for name in ("index.bin", "index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_saved_index_gives_the_same_lists(
    index: ItemIndex, vectors: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    index.save(tmp_path)
    again = ItemIndex.load(tmp_path)
    assert again.info == index.info
    for mine, other in zip(index.query(vectors[0], 80), again.query(vectors[0], 80), strict=True):
        assert torch.equal(mine, other)


def test_a_damaged_index_is_refused(index: ItemIndex, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not the description of an index"):
        ItemIndex.load(tmp_path)
    index.save(tmp_path)
    text = (tmp_path / "index.json").read_text()
    for field, value, message in [
        ("width", 8, r"expected \(I, E\) = \(5000, 8\), got \(5000, 16\)"),
        ("n_items", 4999, r"got \(5000, 16\)"),
        ("is_levelled", False, r"got \(5000, 17\)"),
        ("is_levelled", 0, "is_levelled: expected true or false"),
        ("ef", 0, "expected positive sizes"),
        ("format", 2, "expected format 1, got 2"),
    ]:
        (tmp_path / "index.json").write_text(json.dumps(json.loads(text) | {field: value}))
        with pytest.raises(RunError, match=message):
            ItemIndex.load(tmp_path)
    (tmp_path / "index.json").write_text(text)
    whole = (tmp_path / "index.bin").read_bytes()
    (tmp_path / "index.bin").write_bytes(whole[:-100])
    with pytest.raises(RunError, match=r"index\.bin: expected .* bytes, got"):
        ItemIndex.load(tmp_path)
    (tmp_path / "index.bin").unlink()
    with pytest.raises(RunError, match=r"index\.bin: cannot be read"):
        ItemIndex.load(tmp_path)


def test_edges_that_lead_elsewhere_are_refused(index: ItemIndex, tmp_path: Path) -> None:
    """A graph is walked along whatever its file holds, so that a stranger's is read beforehand."""
    index.save(tmp_path)
    path = tmp_path / "index.bin"
    whole = path.read_bytes()
    header = 96
    record = struct.unpack_from("=Q", whole, 24)[0]
    higher = header + N_ITEMS * record
    while not struct.unpack_from("=I", whole, higher)[0]:
        higher += 4
    assert higher > header + N_ITEMS * record  # item 0 is on the lowest layer alone
    for place, value in [
        (52, N_ITEMS),  # where a search begins
        (48, 99),  # the top layer
        (header, 33),  # how many edges item 0 has
        (header, 1 << 16),  # a mark that it was deleted
        (header + 4, N_ITEMS),  # its first edge
        (header + record - 8, 1),  # its label
        (higher, 4),  # bytes of its higher layers
        (higher + 4, 17),  # how many edges it has there
        (higher + 8, N_ITEMS),  # where the first one leads
        (higher + 8, 0),  # to an item that does not reach up there
    ]:
        broken = bytearray(whole)
        struct.pack_into("=I", broken, place, value)
        path.write_bytes(bytes(broken))
        with pytest.raises(RunError, match=r"index\.bin: (its edges do not lead|not a graph with)"):
            ItemIndex.load(tmp_path)
    path.write_bytes(whole)
    assert ItemIndex.load(tmp_path).info == index.info


def test_equal_vectors_still_fill_the_lists() -> None:
    """As many items without training events have: a graph of equal vectors falls apart."""
    index = ItemIndex.of_vectors(torch.ones(2000, 4))
    labels, products = index.query(torch.ones(3, 4), 100)
    assert all(len(set(row)) == 100 and min(row) >= 0 for row in labels.tolist())
    assert torch.allclose(products, torch.tensor(4.0))
    assert index.share_found(torch.ones(3, 4), 100) == 1.0


def test_unfit_vectors_are_refused(index: ItemIndex) -> None:
    with pytest.raises(DataError, match=r"user vectors: expected \(B, 16\), got \(2, 3\)"):
        index.query(torch.zeros(2, 3), 5)
    with pytest.raises(DataError, match="k: expected a positive number, got 0"):
        index.query(torch.zeros(2, WIDTH), 0)
    with pytest.raises(DataError, match="expected finite numbers"):
        ItemIndex.of_vectors(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(DataError, match="ef: expected 1 or more, got 0"):
        ItemIndex.of_vectors(torch.ones(2, 2), ef=0)
    assert index.query(torch.full((1, WIDTH), torch.nan), 3)[0].tolist() == [[-1, -1, -1]]


def test_lists_of_a_run_are_nearly_the_exact_ones(trained: Trained) -> None:
    index = build_index(trained)
    assert (index.info.n_queries, index.info.k) == (200, 100)
    assert index.info.recall is not None
    assert index.info.recall >= 0.95
    users = list(range(50))
    own = with_index(trained, index)
    mine = recommend(own, users, k=20, index=True)
    exact = recommend(own, users, k=20, index=False)
    assert mine.columns.tolist() == exact.columns.tolist()
    both = mine.merge(exact, on=["user_id", "item_id"])
    assert len(both) >= 0.95 * len(exact)
    assert np.allclose(both["score_x"], both["score_y"], atol=1e-4)
    assert trained.past is not None
    for user, own in mine.groupby("user_id"):
        row = trained.encoder.entities["user"].rows_of_ids([user])
        listed = trained.encoder.entities["item"].rows_of_ids(own["item_id"].tolist())
        assert not set(trained.past.seen.of_users(row).values.tolist()) & set(listed.tolist())
        assert len(own) == 20


@pytest.mark.parametrize("is_levelled", [True, False])
def test_the_better_kind_of_index_is_kept(trained: Trained, is_levelled: bool) -> None:
    """Levelled where items have biases, plain where their lengths differ much."""
    other = copy.deepcopy(trained)
    table = other.model.column_vectors(1)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        if is_levelled:
            other.model.column_vectors(0)[:, 0] = 1
            table[:, 0] = torch.randn(len(table), generator=rng)
        else:
            table *= torch.exp(1.2 * torch.randn(len(table), 1, generator=rng))
    index = build_index(other, recall=0.8)
    shares = {
        kind: measure_index(
            ItemIndex.of_vectors(index.vectors(), is_levelled=kind, ef=index.info.ef), other
        ).recall
        for kind in (True, False)
    }
    assert index.info.is_levelled is max(shares, key=lambda kind: shares[kind] or 0)
    assert index.info.recall == shares[index.info.is_levelled]
    assert index.info.is_levelled is is_levelled


def test_what_does_not_go_with_an_index_is_refused(trained: Trained) -> None:
    own = with_index(trained, build_index(trained))
    for name, value in {
        "candidates": [1, 2],
        "where": "item_id > 3",
        "deny": iter([3]),
        "max_per": {"item_id": 1},
    }.items():
        with pytest.raises(DataError, match=f"index: it lists all items, so that {name} does not"):
            recommend(own, 1, index=True, **{name: value})
    # Of two stages it is the first one that would use an index.
    with pytest.raises(RunError, match="index: this run has none"):
        recommend(own, 1, index=True, retrieve=trained)


def test_an_index_of_another_model_is_refused(trained: Trained) -> None:
    wrong = ItemIndex.of_vectors(build_index(trained).vectors().flip(0))
    with pytest.raises(DataError, match="index: it was built from another model"):
        recommend(with_index(trained, wrong), 1, index=True)
    few = ItemIndex.of_vectors(torch.ones(3, WIDTH))
    with pytest.raises(DataError, match="index: it holds 3 items, but the run has"):
        recommend(with_index(trained, few), 1, index=True)


def test_a_wider_search_finds_more(trained: Trained) -> None:
    index = build_index(trained, recall=0, ef=1, m=4, ef_construction=10)
    narrow = index.info.recall
    index.set_ef(1000)
    assert (index.info.ef, index.info.recall) == (1000, None)
    wide = measure_index(index, trained).recall
    assert narrow is not None
    assert wide is not None
    assert wide > narrow
    with pytest.raises(DataError, match="ef: expected 1 or more, got 0"):
        index.set_ef(0)


def test_the_search_is_as_wide_as_the_wished_recall_needs(trained: Trained) -> None:
    options = {"m": 4, "ef_construction": 10, "ef": 32}
    least = build_index(trained, recall=0, **options)
    assert least.info.ef == 32
    assert least.info.recall is not None
    wished = (1 + 2 * least.info.recall) / 3
    more = build_index(trained, recall=wished, **options)
    assert more.info.recall is not None
    assert more.info.recall >= wished
    assert more.info.ef > 32
    less = ItemIndex.of_vectors(
        more.vectors(),
        ef=more.info.ef // 2,
        is_levelled=more.info.is_levelled,
        m=4,
        ef_construction=10,
    )
    assert (measure_index(less, trained).recall or 0) < wished
    with pytest.raises(DataError, match=r"expected 100\.0% of the exact top 100 .* got .* with ef"):
        build_index(trained, recall=1, m=4, ef_construction=10, ef=513)
    with pytest.raises(DataError, match="recall: expected 0 to 1, got 95"):
        build_index(trained, recall=95)


def test_the_recall_is_that_of_lists_without_what_was_had(trained: Trained) -> None:
    index = build_index(trained, recall=0, ef=1, m=4, ef_construction=10)
    assert trained.past is not None
    users = list(range(N_USERS))
    own = with_index(trained, index)
    mine = recommend(own, users, k=100, index=True)
    exact = recommend(own, users, k=100, index=False)
    both = mine.merge(exact, on=["user_id", "item_id"])
    share = measure_index(index, trained, n_queries=N_USERS).recall
    assert share == pytest.approx(len(both) / len(exact), abs=1e-3)
    assert share < 0.9


def test_an_index_is_used_by_itself_where_it_is_worth_it(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one that finds little, its lists are told from the exact ones."""
    own = with_index(trained, build_index(trained, recall=0, ef=1, m=4, ef_construction=10))
    users = list(range(20))
    exact = recommend(trained, users, k=100)
    rough = recommend(own, users, k=100, index=True)
    assert not rough.equals(exact)
    n_items = len(trained.encoder.entities["item"]) - 1
    for least, lists in [(choice.FROM_ITEMS, exact), (n_items + 1, exact), (n_items, rough)]:
        monkeypatch.setattr(choice, "FROM_ITEMS", least)
        assert recommend(own, users, k=100).equals(lists)
    assert recommend(own, users, k=100, index=False).equals(exact)
    every = exact["item_id"].unique().tolist()
    for narrowed in (
        {"candidates": every},
        {"where": "item_id >= 0"},
        {"deny": [-1]},
        {"max_per": {"item_id": 1}},
    ):
        lists = recommend(own, users, k=100, **narrowed)
        assert lists.equals(recommend(trained, users, k=100, **narrowed))
        assert set(zip(lists["user_id"], lists["item_id"], strict=True)) == set(
            zip(exact["user_id"], exact["item_id"], strict=True)
        )
    # Longer lists than its recall is known for.
    assert recommend(own, users, k=101).equals(recommend(trained, users, k=101))
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    assert recommend(own, users, k=100).equals(exact)


def test_an_index_that_is_not_there_is_said(trained: Trained) -> None:
    with pytest.raises(RunError, match=r"index: this run has none; `run\.build_index"):
        recommend(trained, 1, index=True)
    with pytest.raises(DataError, match="index: expected 'auto', True or False, got 'yes'"):
        recommend(trained, 1, index="yes")


def test_a_model_without_vectors_is_refused() -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "popular",
    }
    run = tabcf.fit(spec, tiny_ratings())
    with pytest.raises(DataError, match="an index needs scores that are products of vectors"):
        build_index(run.trained)


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tabcf\[ann\]'"):
        ItemIndex.of_vectors(torch.ones(2, 2))
