"""What columns read, the side that follows from it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.errors import SpecError
from tabcf.plugin.finding import Plugin
from tabcf.plugin.registry import Registry
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.spec.records import Component, Spec
from tabcf.spec.references import SpecColumn, spec_columns

REGISTRY = compose_registry(["no:*"])
SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": "rating",
    "entities": {
        "user": {"id": "user_id", "table": "users.csv"},
        "item": {"id": "item_id", "table": "items.csv"},
        "shop": {"id": "shop_id", "table": "shops.csv"},
    },
    "model": "dot_product_bias",
}


def spec_with(columns: dict[str, Any], entity: dict[str, Any] | None = None) -> dict[str, Any]:
    """The spec with columns of events and, maybe, of the user."""
    entities = {name: dict(values) for name, values in SPEC["entities"].items()}
    if entity is not None:
        entities["user"]["columns"] = entity
    return {**SPEC, "entities": entities, "columns": columns}


def columns_of(
    columns: dict[str, Any], entity: dict[str, Any] | None = None, registry: Registry = REGISTRY
) -> dict[str, SpecColumn]:
    spec = Spec.model_validate(spec_with(columns, entity))
    return {column.key: column for column in spec_columns(spec, registry)}


def refused(columns: dict[str, Any], entity: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(spec_with(columns, entity), REGISTRY)
    return list(caught.value.problems)


def with_plugin(name: str, columns: dict[str, Any]) -> Registry:
    """The built-in components and a YAML plugin's columns."""
    registry = REGISTRY.copy()
    parts = {key: Component.model_validate(value) for key, value in columns.items()}
    registry.add_parts(
        name,
        origin=f"{name} 1",
        parts={"column": {key: (part.name, part.options) for key, part in parts.items()}},
        entities={},
        folder=None,
    )
    registry.plugins[name] = Plugin(name, "file", name, "1")
    return registry


# Sides


@pytest.mark.parametrize(
    ("column", "table", "tables"),
    [
        ({"hash": {"from": "timestamp", "buckets": 9}}, "event", {"event"}),
        ({"bins": {"from": "user.age", "edges": [30]}}, "user", {"user"}),
        ({"prefix": {"from": "item.title", "length": 1}}, "item", {"item"}),
        ({"bins": {"from": "shop.size", "edges": [30]}}, "shop", {"shop"}),
        ({"hash": {"from": "user", "buckets": 9}}, "user", {"user"}),
        ({"count": "item"}, "item", {"item"}),
        ({"history": "user"}, "user", {"user"}),
        ({"recency": "user"}, "event", {"event", "user"}),
        ({"cross": ["user.age", "user.gender"]}, "user", {"user"}),
        ({"cross": ["user.age", "timestamp"]}, "event", {"user", "event"}),
        ({"cross": ["user.age", "item.year"]}, "event", {"user", "item"}),
        ({"cross": ["user", "item"]}, "event", {"user", "item"}),
        ({"number": {"from": "user.age"}}, "user", {"user"}),
        ("number", "event", {"event"}),
    ],
)
def test_a_columns_side_follows_from_what_it_is_made_from(
    column: Any, table: str, tables: set[str]
) -> None:
    found = columns_of({"x": column})["x"]
    assert (found.table, found.tables) == (table, tables)


def test_the_side_follows_through_other_columns() -> None:
    found = columns_of(
        {
            "b": {"hash": {"from": "a", "buckets": 9}},
            "a": {"cross": ["user.age", "item.year"]},
            "d": {"cross": ["c", "user.gender"]},
            "c": {"bins": {"from": "user.band", "edges": [1]}},
        },
        {"band": {"bins": {"from": "age", "edges": [30]}}, "of_band": {"cross": ["band", "age"]}},
    )
    assert {key: column.table for key, column in found.items()} == {
        "user.band": "user",
        "user.of_band": "user",
        "b": "event",
        "a": "event",
        "d": "user",
        "c": "user",
    }
    assert found["b"].tables == {"event", "user", "item"}
    assert found["c"].reads == {"user.band": "user.band"}
    assert found["user.of_band"].reads == {"band": "user.band"}
    assert found["user.of_band"].raw == (("user", "age"),)


def test_a_spec_columns_sibling_comes_before_a_column_of_the_events() -> None:
    found = columns_of({"day": {"hash": {"from": "timestamp", "buckets": 9}}, "x": {"cross": [
        "day", "other"]}})  # fmt: skip
    assert found["x"].reads == {"day": "day"}
    assert found["x"].raw == (("event", "other"),)


def test_a_column_of_its_own_name_is_that_of_the_table() -> None:
    assert columns_of({"x": {"prefix": {"from": "x", "length": 1}}})["x"].raw == (("event", "x"),)


def test_a_name_of_the_data_may_hold_a_slash_or_a_dot() -> None:
    found = columns_of(
        {"km/h": "number", "fast": {"bins": {"from": "km/h", "edges": [9]}}, "a.b": "number"}
    )
    assert found["km/h"].raw == (("event", "km/h"),)
    assert found["fast"].reads == {"km/h": "km/h"}
    assert found["a.b"].raw == (("event", "a.b"),)


@pytest.mark.parametrize(
    ("reference", "whose"),
    [("item.year", "item"), ("item", "item"), ("shop.size", "shop")],
)
def test_a_column_of_an_entity_reads_no_other_table(reference: str, whose: str) -> None:
    assert refused({}, {"x": {"cross": ["age", reference]}}) == [
        f"entities.user.columns.x: is a column of user and cannot be made from what belongs to "
        f"{whose}; declare it in the top-level `columns`"
    ]


# Refusals


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"a": {"prefix": {"from": "b", "length": 1}}, "b": {"cross": ["c", "x"]},
             "c": {"prefix": {"from": "a", "length": 1}}},
            ["columns.a: is made from itself: a -> b -> c -> a",
             "columns.b: is made from itself: b -> c -> a -> b",
             "columns.c: is made from itself: c -> a -> b -> c"],
        ),
        (
            {"had": {"history": "user"}, "x": {"cross": ["had", "user.age"]}},
            ["columns.x: cannot be made from 'had', a history: of a training row that holds what "
             "the row is to tell"],
        ),
        (
            {"x": {"bins": {"from": "rating", "edges": [3]}}},
            ["columns.x: 'rating' is the target; a model must not see what it predicts"],
        ),
        (
            {"rating": "number"},
            ["columns.rating: 'rating' is the target; a model must not see what it predicts"],
        ),
        (
            {"x": {"cross": ["y", "user.age"]}, "y": {"hash": {"from": "rating", "buckets": 9}}},
            ["columns.y: 'rating' is the target; a model must not see what it predicts"],
        ),
        (
            {"x": {"recency": {"of": "user", "at": "rating"}}},
            ["columns.x: 'rating' is the target; a model must not see what it predicts"],
        ),
        (
            {"x": {"category": {"from": "user_id"}}},
            ["columns.x: 'user_id' is the id of user, which the model receives already"],
        ),
    ],
)  # fmt: skip
def test_what_no_column_can_be_made_from(columns: Any, expected: list[str]) -> None:
    assert refused(columns) == expected


def test_nothing_is_made_from_the_target_through_a_hidden_part() -> None:
    registry = with_plugin(
        "n",
        {
            "inner": {"bins": {"from": "rating", "edges": [3]}},
            "middle": {"prefix": {"from": "inner", "length": 1}},
            "outer": {"cross": ["middle", "user.age"]},
        },
    )
    with pytest.raises(SpecError) as caught:
        read_spec(spec_with({"x": "n/outer"}), registry)
    assert list(caught.value.problems) == [
        "columns.x: 'rating' is the target; a model must not see what it predicts"
    ]


def test_an_entity_cannot_be_called_event() -> None:
    spec = {**SPEC, "entities": {**SPEC["entities"], "event": {"id": "event_id"}}}
    with pytest.raises(SpecError, match=r"^entities\.event: 'event' means the events; give the"):
        read_spec(spec, REGISTRY)


# In a plugin

_RAW = ("x", "timestamp", "user.age", "user.gender", "item.year", "shop.size", "user", "item")


@st.composite
def _columns(draw: Any) -> dict[str, Any]:
    """Columns that read the data and earlier ones; declared in any order."""
    columns: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 6))):
        source = st.sampled_from([*_RAW, *columns])
        kind = draw(st.sampled_from(["cross", "hash", "prefix", "mapping"]))
        options: Any = {"from": draw(source)}
        if kind == "cross":
            options = draw(st.lists(source, min_size=2, max_size=4))
        elif kind == "mapping":
            options["values"] = {"1": "one"}
        else:
            options["buckets" if kind == "hash" else "length"] = 7
        columns[f"c{number}"] = {kind: options}
    return {name: columns[name] for name in draw(st.permutations(list(columns)))}


def _roots(name: str, columns: dict[str, Any]) -> set[str]:
    """The tables that a reference comes down to."""
    if name not in columns:
        table = name.partition(".")[0]
        return {table if table in SPEC["entities"] else "event"}
    (options,) = columns[name].values()
    read = options if isinstance(options, list) else [options["from"]]
    return set().union(*(_roots(other, columns) for other in read))


@given(_columns())
def test_the_side_is_the_one_table_that_all_comes_from(columns: dict[str, Any]) -> None:
    for key, column in columns_of(columns).items():
        roots = _roots(key, columns)
        assert column.tables - {"event"} == roots - {"event"}
        assert column.table == (next(iter(roots)) if len(roots) == 1 else "event")


@given(_columns())
def test_in_a_plugin_columns_read_what_they_read_inline(columns: dict[str, Any]) -> None:
    moved = columns_of({name: f"n/{name}" for name in columns}, registry=with_plugin("n", columns))
    inline = columns_of(columns)
    assert list(moved) == list(inline)
    for key, column in inline.items():
        other = moved[key]
        assert (other.table, other.raw, other.reads, other.tables, other.options) == (
            column.table,
            column.raw,
            column.reads,
            column.tables,
            column.options,
        )
        assert other.is_input


@given(_columns(), st.data())
def test_a_hidden_column_has_the_side_of_a_declared_one(
    columns: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(columns)))
    hidden = columns_of({"only": f"n/{name}"}, registry=with_plugin("n", columns))
    inline = columns_of(columns)
    assert [key for key, column in hidden.items() if column.is_input] == ["only"]
    for key, column in hidden.items():
        same = inline[name if key == "only" else key.removeprefix("n/")]
        assert (column.table, column.tables, column.raw) == (same.table, same.tables, same.raw)


def test_a_plugin_does_not_read_what_the_spec_declares() -> None:
    """Its column means the same in every spec."""
    found = columns_of(
        {"day": {"hash": {"from": "timestamp", "buckets": 9}}, "x": "n/of_day"},
        registry=with_plugin("n", {"of_day": {"prefix": {"from": "day", "length": 1}}}),
    )
    assert found["x"].raw == (("event", "day"),)
    assert found["x"].reads == {}


def test_a_part_in_an_entity_reads_that_entitys_table() -> None:
    registry = with_plugin(
        "n",
        {
            "age": "number",
            "band": {"bins": {"from": "age", "edges": [3]}},
            "year": {"prefix": {"from": "when", "length": 4}},
            "since": {"cross": ["year", "band"]},
        },
    )
    found = columns_of({"band": "n/band"}, {"age": "n/age", "s": "n/since"}, registry)
    assert found["band"].raw == ()
    assert found["band"].table == "event"
    assert found["n/age"].raw == (("event", "age"),)
    assert found["user.s"].reads == {"year": "user.n/year", "band": "user.n/band"}
    assert found["user.n/band"].reads == {"age": "user.age"}
    assert {column.table for key, column in found.items() if "user." in key} == {"user"}
    assert [key for key, column in found.items() if not column.is_input] == [
        "user.n/year",
        "user.n/band",
        "n/age",
    ]
