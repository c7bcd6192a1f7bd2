"""Which of the events' columns a spec reads, and that no others are read of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabcf.contracts.definitions import ColumnDefinition, SplitDefinition
from tabcf.contracts.options import NoOptions
from tabcf.errors import DataError
from tabcf.plugin.hooks import hookimpl
from tabcf.run.prepare import load_events
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.spec.reads import event_columns

PLAIN: dict[str, Any] = {
    "tabcf": 1,
    "data": "wide.csv",
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": "dot_product_bias",
}
ALWAYS = {"user_id", "item_id", "rating", "timestamp"}


class Plugin:
    """A column made of two others, by a plugin."""

    @hookimpl
    def tabcf_columns(self) -> list[ColumnDefinition]:
        return [
            ColumnDefinition(
                name="longer",
                options=NoOptions,
                summary="Whether one text is longer than another.",
                output="category",
                sources=lambda name, options: ("left", "right"),
                apply=lambda tables, options, state: (
                    tables.column("left").str.len() > tables.column("right").str.len()
                ).astype(int),
            )
        ]


def _even(events: Any, roles: Any, options: Any, rng: Any) -> np.ndarray:
    return (np.arange(len(events)) % 3).astype(np.int8)


SECRET = SplitDefinition(name="secret", options=NoOptions, summary="Any.", assign=_even)
OPEN = replace(SECRET, name="open", reads=lambda options: ("session", "user", "target"))


def reads(changes: Mapping[str, Any], plugins: tuple[Any, ...] = ()) -> set[str] | None:
    registry = compose_registry(["no:*", *plugins])
    registry.add([SECRET, OPEN], origin="test")
    document = read_spec({**PLAIN, **changes}, registry)
    found = event_columns(document.spec, document.registry)
    return None if found is None else set(found)


TARGETS = {
    "weight": ({"implicit": {"weight": "minutes"}}, {"minutes"}),
    "rule": ({"implicit": {"positive": "stars >= 4 and kinds has Paid"}}, {"stars", "kinds"}),
}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, set()),
        (
            {"columns": {"device": "category", "hour": {"hour_bins": {"from": "at"}}}},
            {"device", "at"},
        ),
        ({"columns": {"age": {"number": {"from": "user.age"}}}}, set()),
        (
            {"entities": {**PLAIN["entities"], "shop": {"id": "shop_id"}}},
            {"shop_id"},
        ),
        ({"split": {"time": "bought_at"}}, {"bought_at"}),
        ({"train": {"time_decay": {"half_life": 30, "at": "seen_at"}}}, {"seen_at"}),
        ({"split": {"leave_last_out": {"column": "bought_at"}}}, {"bought_at"}),
        ({"split": {"labels": "part"}}, {"part"}),
        ({"split": {"kfold": {"k": 2, "by": "session"}}}, {"session"}),
        ({"split": {"kfold": {"k": 2, "by": "user"}}}, set()),
        ({"split": {"stratified": {"by": "country"}}}, {"country"}),
        ({"split": {"cold": {"given": 3, "by": "bought_at"}}}, {"bought_at"}),
        (
            {"retrieve": {"model": "ease", "target": TARGETS["rule"][0]}},
            {"stars", "kinds"},
        ),
    ],
)
def test_each_source_of_names(changes: dict[str, Any], more: set[str]) -> None:
    assert reads(changes) == ALWAYS | more


@pytest.mark.parametrize("kind", TARGETS)
def test_implicit_targets(kind: str) -> None:
    target, more = TARGETS[kind]
    assert reads({"target": target, "model": "ease"}) == (ALWAYS - {"rating"}) | more


def test_several_targets() -> None:
    found = reads({"target": {"columns": ["a", "b"]}, "model": "embedding_nn"})
    assert found == (ALWAYS - {"rating"}) | {"a", "b"}


def test_a_plugins_columns_and_what_a_split_says_count() -> None:
    both = {"columns": {"which": "longer"}, "split": "open"}
    assert reads(both, (Plugin(),)) == ALWAYS | {"left", "right", "session"}


def test_whoever_may_read_anything_gets_all() -> None:
    assert reads({"split": "secret"}) is None
    plain = {"entities": {}, "model": "tabular"}
    assert reads(plain) is None
    assert reads({**plain, "columns": "auto"}) is None
    assert reads({**plain, "columns": {"age": "number"}}) == {"age", "rating", "timestamp"}


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    rows = pd.DataFrame({"user_id": [1, 2, 3] * 20, "item_id": [4, 5] * 30, "rating": range(60)})
    rows.assign(bought_at=range(60), **{f"other{n}": "x" for n in range(9)}).to_csv(
        tmp_path / "wide.csv", index=False
    )
    return tmp_path


def load(folder: Path, **changes: Any) -> list[str]:
    document = read_spec({**PLAIN, **changes}, compose_registry(["no:*"]))
    events = load_events(document.spec, document.registry, folder=folder)
    return list(events.source.frame.columns)


def test_a_wide_file_is_read_by_its_needed_columns_alone(wide: Path) -> None:
    assert load(wide) == ["user_id", "item_id", "rating"]
    assert load(wide, split={"time": "bought_at"}) == ["user_id", "item_id", "rating", "bought_at"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "ratings"}, r"wide.csv: no column 'ratings'; did you mean 'rating'\?"),
        ({"columns": {"othr0": "category"}}, r"wide.csv: no column 'othr0'; did you mean 'other"),
        ({"split": {"time": "bougt_at"}}, r"split: no column 'bougt_at'; did you mean 'bought_at"),
    ],
)
def test_a_missing_column_is_told_with_all_that_there_are(
    wide: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said + r".*other0, .*other8"):
        load(wide, **changes)
