"""Columns made from columns, as the encoder makes them: their sides, requests, and no leaks."""

from __future__ import annotations

from itertools import pairwise
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
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.data.batches import gather, shuffled_batches
from tabcf.data.derive.bins import quantile_edges
from tabcf.data.derive.times import hour_bins
from tabcf.data.encoder import Encoder
from tabcf.data.parts import TEST, TRAIN
from tabcf.data.sources import source_of_frame
from tabcf.errors import DataError, SpecError
from tabcf.run.prepare import Encoded, Events, encode_split, load_events
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.testing import tiny_ratings

REGISTRY = compose_registry(["no:*"])
DAYPART = {"hour_bins": {"from": "timestamp", "edges": [6, 12, 18]}}
BAND = {"bins": {"from": "user.age", "edges": [25, 35]}}


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return tiny_ratings().assign(mood=lambda frame: frame["timestamp"] % 3)


@pytest.fixture(scope="module", autouse=True)
def tables(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Users' and items' tables in the working folder."""
    folder = tmp_path_factory.mktemp("tables")
    users = pd.DataFrame({"user_id": range(35), "age": np.arange(35) + 15})
    users.assign(gender=["f", "m", "m", "f", "m"] * 7).to_csv(folder / "users.csv", index=False)
    items = pd.DataFrame({"item_id": range(22), "year": np.arange(22) + 1980})
    items.to_csv(folder / "items.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def spec_with(columns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": "rating",
        "entities": {
            "user": {"id": "user_id", "table": "users.csv"},
            "item": {"id": "item_id", "table": "items.csv"},
        },
        "columns": columns,
        "model": {"tabular": {"layers": [8]}},
        "train": {"epochs": 1, "batch_size": 256},
        **more,
    }


def encoded(columns: dict[str, Any], frame: pd.DataFrame, **more: Any) -> tuple[Encoded, Events]:
    document = read_spec(spec_with(columns, **more), REGISTRY)
    events = load_events(document.spec, REGISTRY, data=frame)
    return encode_split(document.spec, REGISTRY, events, TRAIN), events


def rows_of(bag: Bag) -> list[list[int]]:
    bounds = [*bag.offsets.tolist(), len(bag.values)]
    return [bag.values[a:b].tolist() for a, b in pairwise(bounds)]


def gathered(found: Encoded) -> Inputs:
    return gather(found.train, torch.arange(len(found.train)))


def continuous(encoder: Encoder, inputs: Inputs, name: str) -> np.ndarray:
    """A number column in its own unit."""
    names = [column.name for column in encoder.layout.continuous]
    (encoding,) = [encoding for plan, encoding in encoder.columns if plan.key == name]
    return inputs.x_cont[:, names.index(name)].numpy() * encoding.scale + encoding.mean


def categories(encoder: Encoder, inputs: Inputs, name: str) -> list[Any]:
    names = [column.name for column in encoder.layout.categorical]
    (encoding,) = [encoding for plan, encoding in encoder.columns if plan.key == name]
    return encoding.vocabulary.values_of(inputs.x_cat[:, names.index(name)].numpy())


# Sides


SIDED: dict[str, tuple[str, Any]] = {
    "daypart": ("event", DAYPART),
    "band": ("user", BAND),
    "decade": ("item", {"bins": {"from": "item.year", "edges": [1990]}}),
    "mixed": ("event", {"cross": ["band", "decade"]}),
    "evening": ("event", {"cross": ["band", "daypart"]}),
    "popular": ("item", {"count": "item"}),
    "had": ("user", {"history": "user"}),
    "fans": ("item", {"history": "item"}),
    "since": ("event", {"recency": "user"}),
    "mood": ("event", "number"),
}


@given(st.permutations(list(SIDED)))
@settings(max_examples=20)
def test_columns_stand_user_item_event_in_whatever_order_they_are_declared(
    names: list[str],
) -> None:
    frame = tiny_ratings(n_users=6, n_items=6).assign(mood=lambda frame: frame["timestamp"] % 3)
    found, _ = encoded({name: SIDED[name][1] for name in names}, frame)
    layout = found.encoder.layout
    order = ["user", "item", "event"]
    for columns in (layout.categorical, layout.continuous, layout.sets):
        sides = [column.side for column in columns]
        assert sides == sorted(sides, key=order.index)
        for column in columns:
            name = column.name.removesuffix(" is missing")
            assert column.side == SIDED.get(name, (name,))[0]
    for side in order:
        of_side = [c.name for c in layout.categorical if c.side == side and c.name in SIDED]
        assert of_side == [name for name in names if name in of_side]


def test_a_derived_column_means_what_a_merge_would_give(ratings: pd.DataFrame) -> None:
    found, events = encoded({name: SIDED[name][1] for name in ("band", "decade", "mixed")}, ratings)
    inputs = gathered(found)
    frame = events.rows(TRAIN).frame
    merged = frame.merge(pd.read_csv("users.csv"), how="left").merge(
        pd.read_csv("items.csv"), how="left"
    )
    ages = pd.cut(merged["age"], [-np.inf, 25, 35, np.inf], right=False, labels=False)
    shown = categories(found.encoder, inputs, "band")
    assert len(set(zip(ages, shown, strict=True))) == ages.nunique() == len(set(shown))
    mixed = categories(found.encoder, inputs, "mixed")
    pairs = list(zip(ages, merged["year"] >= 1990, strict=True))
    assert len(set(zip(pairs, mixed, strict=True))) == len(set(pairs)) == len(set(mixed))


# Requests


@pytest.fixture(scope="module")
def run(ratings: pd.DataFrame) -> tabcf.Run:
    columns = {
        "daypart": DAYPART,
        "band": BAND,
        "evening": {"cross": ["band", "daypart"]},
        "mood": "category",
        "since": {"recency": "user"},
    }
    return tabcf.fit(spec_with(columns), ratings, plugins=["no:*"])


def score(run: tabcf.Run, context: dict[str, Any] | None = None, user: Any = 3) -> list[float]:
    asked = run.recommend(user, k=4, candidates=[1, 2, 3], context=context, exclude_seen=False)
    return asked.sort_values("item_id")["score"].tolist()


def test_the_context_gives_what_a_column_is_made_from_or_the_column(run: tabcf.Run) -> None:
    noon = int(pd.Timestamp("2001-09-09 13:00", tz="UTC").timestamp())
    encoder = run.trained.encoder
    users = np.array([4])
    made = encoder.events_with({"timestamp": noon}, users)
    (value,) = _event_values(encoder, made, "daypart")
    assert value is not None
    given_column = encoder.events_with({"daypart": value}, users)
    for name in ("daypart", "evening"):
        assert _event_values(encoder, made, name) == _event_values(encoder, given_column, name)
    assert score(run, {"timestamp": noon}) != score(run)
    assert score(run, {"mood": 1}) != score(run, {"mood": 2})


def _event_values(encoder: Encoder, inputs: Inputs, name: str) -> list[Any]:
    names = [column.name for column in encoder.layout.categorical if column.side == "event"]
    (encoding,) = [encoding for plan, encoding in encoder.columns if plan.key == name]
    return encoding.vocabulary.values_of(inputs.x_cat[:, names.index(name)].numpy())


def test_what_the_context_leaves_out_is_unknown(run: tabcf.Run) -> None:
    encoder = run.trained.encoder
    nothing = encoder.events_with({}, np.array([4]))
    assert nothing.x_cat.tolist() == [[0, 0, 0]]
    for name in ("daypart", "evening", "mood"):
        assert _event_values(encoder, nothing, name) == [None]
    assert score(run) == score(run, {}) == score(run, {"timestamp": None})


@pytest.mark.parametrize("name", ["hour", "band", "age", "user.age", "rating", "user_id"])
def test_a_context_that_no_event_column_reads_is_refused(name: str, run: tabcf.Run) -> None:
    with pytest.raises(DataError) as caught:
        run.recommend(3, context={name: 1})
    assert str(caught.value) == (
        f"context: no event column reads '{name}'; known: timestamp, mood, daypart, evening, since"
    )


def test_a_column_of_item_and_event_gives_no_lists_and_says_why(ratings: pd.DataFrame) -> None:
    columns = {"decade": SIDED["decade"][1], "mixed": {"cross": ["decade", "timestamp"]}}
    run = tabcf.fit(spec_with(columns), ratings, plugins=["no:*"])
    assert len(run.predict(ratings.head(3))) == 3
    with pytest.raises(DataError) as caught:
        run.recommend(3)
    assert str(caught.value) == (
        "the column 'mixed' is made from the item's columns among others, so it differs from item "
        "to item; such a run predicts events, it does not list items"
    )
    with pytest.raises(SpecError, match=r"^columns\.mixed: `mixed` is made from the item's colum"):
        read_spec(spec_with(columns, metrics=["ndcg"]), REGISTRY)


def test_a_new_user_brings_the_users_part_of_event_columns(run: tabcf.Run) -> None:
    encoder = run.trained.encoder
    noon = {"timestamp": int(pd.Timestamp("2001-12-24 13:00", tz="UTC").timestamp())}
    users = pd.read_csv("users.csv")
    given_frame = users.loc[[3, 20], ["age", "gender"]].reset_index(drop=True)
    attributes = source_of_frame(given_frame, name="users")
    asked = encoder.events_with(noon, np.zeros(2, np.int32), attributes=attributes)
    known = encoder.events_with(noon, np.array([4, 21]))
    assert torch.equal(asked.x_cat, known.x_cat)
    evenings = _event_values(encoder, asked, "evening")
    assert len(set(evenings)) == 2
    assert None not in evenings
    # Nobody knows when a new user was last seen; who gives a known id is known.
    assert not torch.equal(asked.x_cont, known.x_cont)
    with_id = source_of_frame(users.loc[[3, 20], ["user_id", "age", "gender"]], name="users")
    named = encoder.events_with(noon, np.array([4, 21]), attributes=with_id)
    assert torch.equal(named.x_cont, known.x_cont)
    lists = run.recommend(given_frame, k=2, context=noon)
    assert lists["basis"].tolist() == ["cold: attributes"] * 4


def test_a_context_reaches_a_plugins_hidden_column_by_either_name(
    ratings: pd.DataFrame, tables: Path
) -> None:
    (tables / "night.yaml").write_text(
        "tabcf_plugin: 1\nname: night\ncolumns:\n"
        "  daypart: {hour_bins: {from: timestamp, edges: [6, 12, 18]}}\n"
        "  cohort: {cross: [daypart, user.gender]}\n"
    )
    both = {"cohort": "night/cohort", "part": "night/daypart"}
    hidden = {"cohort": "night/cohort"}
    inputs = []
    for columns, name in ((both, "part"), (hidden, "daypart")):
        spec = spec_with(columns, plugins=["night.yaml"])
        run = tabcf.fit(spec, ratings, plugins=["no:*"])
        encoder = run.trained.encoder
        noon = encoder.events_with({"timestamp": 1_000_040_000}, np.array([4]))
        (cohort,) = _event_values(encoder, noon, "cohort")
        assert cohort is not None
        value = _daypart(1_000_040_000)
        found = encoder.events_with({name: value}, np.array([4]))
        assert _event_values(encoder, found, "cohort") == [cohort]
        inputs.append(cohort)
    assert inputs[0] == inputs[1]


def _daypart(seconds: int) -> Any:
    return hour_bins(pd.Series([seconds]), (6, 12, 18), timezone="UTC")[0]


# Leaks


def test_leak_history_leaves_a_training_rows_own_event_out(ratings: pd.DataFrame) -> None:
    found, events = encoded({"had": {"history": "user"}, "fans": {"history": "item"}}, ratings)
    encoder, frame = found.encoder, events.rows(TRAIN).frame
    vocabularies = {plan.key: encoding.vocabulary for plan, encoding in encoder.columns}
    assert [column.name for column in encoder.layout.sets] == ["had", "fans"]
    inputs = gathered(found)
    for bag, name, own, other in (
        (inputs.x_sets[0], "had", "user_id", "item_id"),
        (inputs.x_sets[1], "fans", "item_id", "user_id"),
    ):
        shown = [set(vocabularies[name].values_of(row)) for row in rows_of(bag)]
        all_of = frame.groupby(own)[other].agg(lambda ids: {str(i) for i in ids})
        for row, values in enumerate(shown):
            own_value = str(frame[other][row])
            assert values == all_of[frame[own][row]] - {own_value}
    # Rows of other parts see all of it, and so does a request.
    test = events.rows(TEST)
    plain = gather(encoder.encode(test), torch.arange(len(test.frame)))
    sizes = frame.groupby("user_id").size()
    assert [len(row) for row in rows_of(plain.x_sets[0])] == sizes[test.frame["user_id"]].tolist()


def test_leak_history_is_left_out_of_shuffled_batches(ratings: pd.DataFrame) -> None:
    found, events = encoded({"had": {"history": "user"}}, ratings)
    (vocabulary,) = [encoding.vocabulary for plan, encoding in found.encoder.columns]
    items = found.encoder.entities["item"]
    position = [c.name for c in found.encoder.layout.categorical].index("item")
    n_rows = 0
    for batch in shuffled_batches(found.train, 7, Generator().manual_seed(1)):
        (bag,) = batch.inputs.x_sets
        rows = items.row_of_index[batch.inputs.x_cat[:, position].numpy()]
        own = [str(value) for value in items.ids.values_of(rows)]
        for value, values in zip(own, rows_of(bag), strict=True):
            assert value not in vocabulary.values_of(values)
            assert 0 not in values
        n_rows += len(own)
    assert n_rows == len(events.rows(TRAIN).frame)


def test_leak_count_is_one_less_in_training(ratings: pd.DataFrame) -> None:
    columns = {"n": {"count": {"of": "user", "log": False}}, "popular": {"count": "item"}}
    found, events = encoded(columns, ratings)
    train, test = events.rows(TRAIN), events.rows(TEST)
    sizes = train.frame.groupby("user_id").size()
    seen = continuous(found.encoder, gathered(found), "n")
    assert seen == pytest.approx(sizes[train.frame["user_id"]].to_numpy() - 1, abs=1e-3)
    table = found.encoder.encode(test)
    plain = gather(table, torch.arange(len(test.frame)))
    seen = continuous(found.encoder, plain, "n")
    assert seen == pytest.approx(sizes[test.frame["user_id"]].to_numpy(), abs=1e-3)
    sizes = train.frame.groupby("item_id").size()
    seen = np.expm1(continuous(found.encoder, gathered(found), "popular"))
    assert seen == pytest.approx(sizes[train.frame["item_id"]].to_numpy() - 1, abs=1e-2)


def test_leak_what_is_made_from_a_count_leaves_the_own_event_out_too(
    ratings: pd.DataFrame,
) -> None:
    # A user's number of events, read through bins (of the user) and a cross (of the event).
    frame = ratings[ratings["user_id"] < 3].groupby("user_id").head(5).reset_index(drop=True)
    columns = {
        "n": {"count": {"of": "user", "log": False}},
        "is_five": {"bins": {"from": "n", "edges": [5]}},
        "crossed": {"cross": ["is_five", "mood"]},
    }
    found, _ = encoded(columns, frame, split={"random": {"valid": 0, "test": 0}})
    train = gathered(found)
    below = set(categories(found.encoder, train, "is_five"))
    assert len(below) == 1
    assert None not in categories(found.encoder, train, "crossed")
    later = found.encoder.encode(source_of_frame(frame))
    plain = gather(later, torch.arange(len(frame)))
    # Five events, which training never shows: an unknown bin, and crosses unknown with it.
    assert set(categories(found.encoder, plain, "is_five")) == {None}
    assert set(categories(found.encoder, plain, "crossed")) == {None}


ALL: dict[str, Any] = {
    **{name: column for name, (_, column) in SIDED.items()},
    "quantile": {"bins": {"from": "timestamp", "quantiles": 4}},
    "ages": {"bins": {"from": "user.age", "quantiles": 3}},
    "told": {"mapping": {"from": "mood", "values": {"0": "low", "1": "mid"}}},
    "of_id": {"hash": {"from": "user", "buckets": 11}},
}


def _state(found: Encoded) -> tuple[Any, dict[str, Any]]:
    plain, arrays = found.encoder.to_json()
    entities = {
        name: (e.n_events.tolist(), e.ids.to_json()) for name, e in found.encoder.entities.items()
    }
    return (plain, entities), {name: array.tolist() for name, array in arrays.items()}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_leak_the_encoder_does_not_see_test_rows(seed: int) -> None:
    """Whatever the test and validation rows hold, the training rows give the same state."""
    frame = tiny_ratings(n_users=8, n_items=8).assign(mood=lambda frame: frame["timestamp"] % 3)
    found, events = encoded(ALL, frame)
    rng = np.random.default_rng(seed)
    changed = frame.copy()
    others = np.flatnonzero(events.part != TRAIN)
    for column in ("user_id", "item_id"):
        changed.loc[others, column] = rng.integers(0, 40, len(others))
    changed.loc[others, "timestamp"] = rng.integers(0, 2_000_000_000, len(others))
    changed.loc[others, "mood"] = rng.integers(5, 9, len(others))
    changed.loc[others, "rating"] = rng.integers(1, 6, len(others))
    again, other_events = encoded(ALL, changed)
    assert (events.part == other_events.part).all()
    assert _state(again) == _state(found)
    assert torch.equal(gathered(again).x_cat, gathered(found).x_cat)
    assert torch.equal(gathered(again).x_cont, gathered(found).x_cont)


def test_leak_the_encoder_does_not_see_the_target(ratings: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    shuffled = ratings.assign(rating=rng.permutation(ratings["rating"]))
    assert _state(encoded(ALL, shuffled)[0]) == _state(encoded(ALL, ratings)[0])


def test_leak_fitting_sees_training_rows_only(ratings: pd.DataFrame) -> None:
    found, events = encoded(ALL, ratings)
    train = events.rows(TRAIN).frame
    state, arrays = found.encoder.to_json()
    states = {name: column["state"] for name, column in state["columns"].items()}
    # Quantiles of training events; a user counts once, and only one who has a training event.
    edges = states["quantile"]["edges"]
    assert edges == quantile_edges(train["timestamp"], 4, table="events").tolist()
    assert edges != quantile_edges(ratings["timestamp"], 4, table="events").tolist()
    users = pd.read_csv("users.csv")
    ages = users["age"][users["user_id"].isin(train["user_id"])]
    assert states["ages"]["edges"] == pytest.approx(np.quantile(ages, [1 / 3, 2 / 3]), abs=1)
    assert max(states["ages"]["edges"]) < 45
    # Counts and histories are of training events, recency of their times.
    assert arrays["popular/counts"].sum() == len(train)
    assert len(arrays["had/codes"]) == len(arrays["fans/codes"]) == len(train)
    times = sorted(train["timestamp"].to_numpy() * 1_000_000)
    assert sorted(arrays["since/times"].tolist()) == times
    # A category that only test rows have is unknown.
    rare = ratings.copy()
    rare.loc[np.flatnonzero(events.part == TEST), "mood"] = 7
    (encoding,) = [
        encoding
        for plan, encoding in encoded({"mood": "category"}, rare)[0].encoder.columns
        if plan.key == "mood"
    ]
    assert encoding.vocabulary.values.tolist() == [0, 1, 2]


def test_recency_needs_a_time_of_the_events(ratings: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        encoded({"x": {"recency": {"of": "user", "at": "user.age"}}}, ratings)
    assert str(caught.value) == (
        "column: recency of user: expected `at` to be a column of the events, and the column to be "
        "declared in the top-level `columns`; 'user.age' is one of user"
    )
