"""Losses that rank items, and what events count, are the same within a memory budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tabcf
from tabcf.errors import SpecError
from tests.flow.test_streamed import assert_same, frame, spec

IMPLICIT: dict[str, Any] = {"implicit": {"positive": "rating >= 3"}}
# No chunks: what a batch holds are users, with all of theirs.
USERS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "checkpoint": None}

CASES: dict[str, dict[str, Any]] = {
    "bpr, fused": {"target": IMPLICIT, "loss": "bpr"},
    "bpr, all of whose pairs are searched": {"target": IMPLICIT, "loss": "bpr"},
    "softmax of some, by popularity": {
        "target": {"implicit": {}},
        "loss": "sampled_softmax",
        "negatives": {"popularity": {"n": 5, "power": 0.75}},
        "model": {"embedding_nn": {"layers": [8]}},
        "columns": {"device": "category", "minutes": "number"},
    },
    "in batch, refitted": {
        "target": IMPLICIT,
        "loss": "sampled_softmax",
        "negatives": "in_batch",
        "train": {"engine": "eager", "refit": True},
    },
    "hard, weighted": {
        "target": {"implicit": {"positive": "rating >= 2", "weight": "day"}},
        "loss": "sampled_bce",
        "negatives": {"hard": {"n": 2, "pool": 3}},
    },
    "blend": {"loss": {"sum": {"mse": 0.5, "bpr": 0.5}}},
    "softmax, the default": {"target": IMPLICIT, "train": USERS},
    "whole matrix, weighted": {
        "target": {"implicit": {"weight": "day"}},
        "loss": "implicit_mse",
        "model": {"dot_product": {"factors": 4}},
        "train": USERS,
    },
    "newcomers told": {
        "target": {"implicit": {}},
        "loss": "bpr",
        "split": {"cold": {"side": "user", "test": 0.2, "given": 2}},
    },
    "lists, stopped early": {
        "target": IMPLICIT,
        "loss": "bpr",
        "metrics": [{"ndcg": 5}, "list_auc", {"coverage": 5}, {"serendipity": 5}],
        "train": {"epochs": 4, "early_stopping": {"patience": 1}},
    },
    "weights by user, item and age": {
        "train": {
            "user_weights": 0.5,
            "item_propensity": 0.5,
            "time_decay": {"half_life": 60, "at": "when"},
        },
    },
    "weights of weighted positives": {
        "target": {"implicit": {"positive": "rating >= 3", "weight": "day"}},
        "loss": "bpr",
        "train": {"user_weights": {"cap": 3}, "time_decay": {"half_life": 60, "at": "when"}},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_fit_from_disk_is_the_fit_in_memory(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabcf.data.spool._BLOCK", 130)
    monkeypatch.setattr("tabcf.data.pairs._BLOCK", 90)
    monkeypatch.setattr("tabcf.data.order._BLOCK", 128)
    if "searched" in case:
        monkeypatch.setattr("tabcf.training.samplers._MOST_CELLS", 0)
    data = frame()
    data.loc[::70, "user_id"] = None
    data.to_parquet(tmp_path / "events.parquet", row_group_size=200)
    given = spec(**CASES[case])
    if CASES[case].get("train") is USERS:
        given["train"] = USERS
    expected = tabcf.fit(given, str(tmp_path / "events.parquet"))
    run = tabcf.fit(given, str(tmp_path / "events.parquet"), memory="2GB")
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert expected.report.test
    assert_same(run, expected)


def test_users_with_all_of_theirs_are_not_shuffled_by_chunks() -> None:
    given = spec(target={"implicit": {}})
    with pytest.raises(SpecError, match=r"train.shuffle: is of events, and softmax takes users"):
        tabcf.fit(given, frame(), memory="2GB")
