"""What a caller gives of newcomers: read as it is meant, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.errors import DataError, RunError
from tabcf.testing import tiny_ratings


def spec(folder: Path, model: Any = None, **changes: Any) -> dict[str, Any]:
    """Users of two kinds, items of two; the event has a weekday."""
    users = pd.DataFrame({"user_id": range(40), "kind": ["even", "odd"] * 20, "age": range(40)})
    items = pd.DataFrame({"item_id": range(20), "title": [f"Film {i}" for i in range(20)]})
    users.to_csv(folder / "users.csv", index=False)
    items.to_csv(folder / "items.csv", index=False)
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {
            "user": {
                "id": "user_id",
                "table": str(folder / "users.csv"),
                "columns": {"kind": "category", "age": "number"},
            },
            "item": {"id": "item_id", "table": str(folder / "items.csv"), "label": "title"},
        },
        "columns": {"weekday": {"date_part": {"from": "timestamp", "part": "weekday"}}},
        "model": model or {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
        "train": {"epochs": 30, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0},
        **changes,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    """Users 30 to 39 have attributes and no ratings."""
    return tabcf.fit(spec(tmp_path_factory.mktemp("given")), tiny_ratings())


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    """The same with ids of text, and nothing but users and items."""
    entities = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
    frame = tiny_ratings().astype({"user_id": str, "item_id": str})
    folder = tmp_path_factory.mktemp("named")
    return tabcf.fit(spec(folder, entities=entities, columns={}), frame)


FIVE = pd.DataFrame({"item_id": [0, 2, 4, 1, 3], "rating": [5, 5, 5, 1, 1]})


def means(predicted: pd.DataFrame) -> tuple[float, float]:
    """Of even and of odd items."""
    is_even = predicted["item_id"].astype(int) % 2 == 0
    return predicted["prediction"][is_even].mean(), predicted["prediction"][~is_even].mean()


HELD = pd.DataFrame({"item_id": range(5, 20), "timestamp": 1_000_000_000})


def test_without_an_id_column_all_rows_are_one_newcomers(run: tabcf.Run) -> None:
    newcomers = run.fold_in(FIVE)
    assert (newcomers.ids, newcomers.basis) == (["new"], ["5 events"])
    assert repr(newcomers) == "Newcomers(1 users: 1 by 5 events)"
    predicted = newcomers.predict(HELD)
    even, odd = means(predicted)
    assert even > 4 > 2 > odd
    assert predicted.columns.tolist() == ["item_id", "timestamp", "basis", "sd", "prediction"]
    lists = newcomers.recommend(k=3)
    assert lists.columns.tolist() == ["user_id", "rank", "item_id", "title", "score", "basis"]
    assert set(lists["user_id"]) == {"new"}
    assert newcomers.vectors().columns.tolist() == ["user_id", "d0", "d1", "d2", "d3", "d4"]


def test_the_callers_frame_stays_as_it_was(run: tabcf.Run) -> None:
    given, held = FIVE.copy(), HELD.copy()
    run.fold_in(given).predict(held)
    pd.testing.assert_frame_equal(given, FIVE)
    pd.testing.assert_frame_equal(held, HELD)


@pytest.mark.parametrize("made_up", ["new", "new'"])
def test_an_id_made_up_is_nobodys(named: tabcf.Run, made_up: str) -> None:
    given = FIVE.astype({"item_id": str})
    frame = pd.concat([tiny_ratings().astype({"user_id": str, "item_id": str})] * 1)
    frame.loc[frame["user_id"] == "3", "user_id"] = made_up
    other = tabcf.fit(named.spec.model_dump(mode="json", exclude_unset=True), frame)
    assert other.fold_in(given).ids == ["new"]
    assert other.fold_in(given).basis == ["5 events"], "none of the namesake's"


def test_order_and_index_of_rows_say_nothing(run: tabcf.Run) -> None:
    expected = run.fold_in(FIVE).posterior.mean
    turned = FIVE.sample(frac=1, random_state=0)
    assert torch.allclose(run.fold_in(turned).posterior.mean, expected, atol=1e-9)


def test_newcomers_come_in_the_order_of_their_attributes_then_of_their_events(
    run: tabcf.Run,
) -> None:
    events = pd.concat([FIVE.assign(user_id=u) for u in (102, 100, 103)], ignore_index=True)
    attributes = pd.DataFrame({"user_id": [101, 103], "kind": ["odd", "even"], "age": [7, 8]})
    newcomers = run.fold_in(events, attributes=attributes)
    assert newcomers.ids == [101, 103, 102, 100]
    assert newcomers.basis == ["cold: attributes", "5 events", "5 events", "5 events"]


def test_attributes_alone_give_what_a_frame_of_them_gives(run: tabcf.Run) -> None:
    attributes = pd.DataFrame({"user_id": [100, 101], "kind": ["even", "odd"], "age": [4, 5]})
    newcomers = run.fold_in(attributes=attributes)
    lists, known = newcomers.recommend(k=4), run.recommend(attributes, k=4)
    assert lists["item_id"].tolist() == known["item_id"].tolist()
    assert np.allclose(lists["score"], known["score"], atol=1e-4)
    assert newcomers.basis == ["cold: attributes"] * 2
    one = run.fold_in(attributes=attributes[["kind", "age"]].head(1))
    assert one.ids == ["new"]
    assert np.allclose(one.recommend(k=4)["score"], lists["score"].head(4), atol=1e-4)


def test_attributes_without_an_id_are_the_one_newcomers(run: tabcf.Run) -> None:
    attributes = pd.DataFrame({"kind": ["even"], "age": [4]})
    for given in (FIVE, FIVE.assign(user_id=100)):
        newcomers = run.fold_in(given, attributes=attributes)
        assert newcomers.basis == ["5 events"]
        named = run.fold_in(given.assign(user_id=100), attributes=attributes.assign(user_id=100))
        assert torch.equal(newcomers.posterior.mean, named.posterior.mean)
    by_attributes = run.fold_in(FIVE, attributes=attributes.assign(user_id=100))
    assert by_attributes.ids == [100]


def test_a_user_of_the_table_brings_their_attributes(run: tabcf.Run) -> None:
    of_table = run.fold_in(FIVE.assign(user_id=31))
    given = pd.DataFrame({"user_id": [31], "kind": ["odd"], "age": [31]})
    same = run.fold_in(FIVE.assign(user_id=31), attributes=given)
    assert torch.allclose(of_table.posterior.mean, same.posterior.mean, atol=1e-6)
    other = run.fold_in(FIVE.assign(user_id=31), attributes=given.assign(kind="even", age=3))
    assert not torch.allclose(of_table.posterior.mean, other.posterior.mean, atol=1e-3)
    part = run.fold_in(FIVE.assign(user_id=31), attributes=given.drop(columns="age"))
    assert torch.allclose(of_table.posterior.mean, part.posterior.mean, atol=1e-6)
    beside = run.fold_in(
        FIVE.assign(user_id=31), attributes=pd.DataFrame({"user_id": [100], "kind": ["odd"]})
    )
    assert torch.allclose(of_table.posterior.mean[0], beside.posterior.mean[1], atol=1e-6)


def test_an_unknown_item_counts_as_the_average_one(run: tabcf.Run) -> None:
    given = pd.concat([FIVE, pd.DataFrame({"item_id": [999], "rating": [1]})], ignore_index=True)
    newcomers = run.fold_in(given)
    assert newcomers.basis == ["6 events"]
    predicted = newcomers.predict(pd.DataFrame({"item_id": [6, 999], "timestamp": 10**9}))
    assert predicted["basis"].tolist() == ["6 events", "6 events; cold item: average"]
    assert torch.isfinite(newcomers.posterior.mean).all()


def test_event_columns_that_are_not_given_are_unknown(run: tabcf.Run) -> None:
    blank = FIVE.assign(timestamp=None)
    expected = run.fold_in(FIVE).posterior.mean
    assert torch.equal(run.fold_in(blank).posterior.mean, expected)
    at_night = run.fold_in(FIVE.assign(timestamp=1_000_000_000)).posterior.mean
    assert not torch.equal(at_night, expected)


def test_a_frame_without_rows_is_somebody_of_whom_nothing_is_known(run: tabcf.Run) -> None:
    newcomers = run.fold_in(FIVE.head(0))
    assert (newcomers.ids, newcomers.basis) == (["new"], ["cold: attributes"])
    unknown = run.recommend([999], k=4)
    lists = newcomers.recommend(k=4)
    assert lists["item_id"].tolist() == unknown["item_id"].tolist()
    assert np.allclose(lists["score"], unknown["score"], atol=1e-5)
    assert newcomers.predict(HELD)["sd"].min() > run.fold_in(FIVE).predict(HELD)["sd"].max()


def test_a_file_is_read_as_a_frame_is(run: tabcf.Run, named: tabcf.Run, tmp_path: Path) -> None:
    """The ids of text files are read as training's were, with a column of their own or without."""
    for given in (FIVE, FIVE.assign(user_id=100)):
        given.to_csv(tmp_path / "five.csv", index=False)
        path = str(tmp_path / "five.csv")
        found, expected = run.fold_in(path), run.fold_in(given)
        assert torch.equal(found.posterior.mean, expected.posterior.mean)
        text = given.astype({c: str for c in given.columns if c != "rating"})
        found, expected = named.fold_in(path), named.fold_in(text)
        assert torch.equal(found.posterior.mean, expected.posterior.mean)
        assert found.ids == expected.ids
    frame = pd.DataFrame({"user_id": ["3"] * 2, "item_id": ["1", "2"], "rating": [1, 5]})
    frame.to_csv(tmp_path / "known.csv", index=False)
    assert named.fold_in(str(tmp_path / "known.csv")).basis == named.fold_in(frame).basis


def test_a_new_items_label_and_attributes(run: tabcf.Run) -> None:
    given = pd.DataFrame({"user_id": [0, 2, 4, 1, 3], "rating": [5, 5, 5, 1, 1], "item_id": 100})
    attributes = pd.DataFrame({"item_id": [100], "title": ["A new one"]})
    newcomers = run.fold_in(given, entity="item", attributes=attributes)
    lists = newcomers.recommend([6, 8], k=21, exclude_seen=False)
    assert set(lists.loc[lists["item_id"] == 100, "title"]) == {"A new one"}
    top = lists.groupby("user_id").head(12)
    assert (top["item_id"] == 100).sum() == 2
    without = run.fold_in(given, entity="item").recommend([6], only_new=True)
    assert without["title"].tolist() == [""]
    assert newcomers.recommend([6], where="title == 'A new one'")["item_id"].tolist() == [100]
    assert 100 not in set(newcomers.recommend([6], k=21, deny=[100])["item_id"])


def test_a_prediction_column_of_ones_own_gives_way(run: tabcf.Run) -> None:
    held = HELD.assign(sd=1.0, prediction=2.0)
    shown = run.fold_in(FIVE).predict(held)
    assert shown.columns.tolist() == ["item_id", "timestamp", "basis", "sd", "prediction"]


@pytest.mark.parametrize(
    ("given", "arguments", "message"),
    [
        (FIVE.drop(columns="rating"), {}, "data: no column 'rating'"),
        (FIVE.drop(columns="item_id"), {}, "data: no column 'item_id'"),
        (FIVE.assign(rating=3), {}, "5 of 5 rows are on none of the levels 1, 5"),
        (FIVE.assign(rating=[5, None, 5, 1, 1]), {}, "1 of 5 rows have none; first at row 1"),
        (FIVE.assign(item_id=list("abcde")), {}, "'item_id': expected whole numbers as in"),
        (FIVE.assign(user_id="anna"), {}, "'user_id': expected whole numbers as in training"),
        (
            FIVE.assign(user_id=[1, 1, None, 1, None]),
            {},
            "'user_id': expected a whole number in each row, as in training; 2 of 5 have none, "
            "first at row 2",
        ),
        (FIVE.assign(user_id=1).head(0), {}, "expected events, or attributes by 'user_id'"),
        (FIVE, {"attributes": FIVE}, "expected at least one of the columns: user_id, age, kind"),
        (
            FIVE,
            {"attributes": pd.DataFrame({"kind": ["odd"] * 2})},
            "no column 'user_id', which says whose attributes the 2 rows are",
        ),
        (
            FIVE,
            {"attributes": pd.DataFrame({"user_id": [1, 2], "kind": "odd"})},
            "data: no column 'user_id', which says whose events they are",
        ),
        (
            FIVE.assign(user_id=9),
            {"attributes": pd.DataFrame({"user_id": [9, 9], "kind": "odd"})},
            "'user_id': expected each id once; 9 comes again at row 1",
        ),
        (FIVE, {"entity": "shop"}, "entity: expected user or item, got 'shop'"),
        (None, {}, "expected interactions, attributes or both"),
        (3, {}, "expected a data frame or a path, got int"),
        ("nowhere.csv", {}, "no file 'nowhere.csv'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: tabcf.Run, given: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run.fold_in(given, **arguments)


def test_arguments_of_the_other_side_are_refused(run: tabcf.Run) -> None:
    users = run.fold_in(FIVE)
    items = run.fold_in(pd.DataFrame({"user_id": [0, 1], "rating": [5, 1]}), entity="item")
    with pytest.raises(DataError, match="users: expected none, since the newcomers are users"):
        users.recommend([1])
    with pytest.raises(DataError, match="only_new: goes with new items"):
        users.recommend(only_new=True)
    with pytest.raises(DataError, match="users: expected ids, since the newcomers are items"):
        items.recommend()
    with pytest.raises(DataError, match="candidates: expected none, since the newcomers are it"):
        items.recommend([1], candidates=[2])


def test_a_run_without_users_and_items_is_refused() -> None:
    plain = {"tabcf": 1, "target": "rating", "model": "mean"}
    run = tabcf.fit(plain, tiny_ratings())
    with pytest.raises(RunError, match="fold_in needs the entities user and item; missing: user"):
        run.fold_in(FIVE)
