"""A good spec is read as written; overrides and specs from Python go through the same checks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import ScheduleDefinition
from tabcf.contracts.options import Options
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry, parse_options
from tabcf.run.builtins import builtin_registry
from tabcf.spec.components import COMPONENTS, kind_at
from tabcf.spec.read import SpecDocument, read_spec
from tabcf.spec.records import Component, Rows, Spec

PLAIN: Mapping[str, Any] = {"tabcf": 1, "target": "price", "model": "tabular"}
PAIR: Mapping[str, Any] = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}


def _not_built(options: Any) -> Any:
    raise AssertionError("reading a spec builds nothing")


def _problems(source: Any, registry: Registry, **more: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(source, registry, **more)
    return list(caught.value.problems)


class TestFiles:
    def test_a_whole_spec(
        self, movies: str, registry: Registry, write_spec: Callable[[str], str]
    ) -> None:
        document = read_spec(write_spec(movies), registry)
        spec = document.spec
        assert spec.target.levels == (1.0, 2.0, 3.0, 4.0, 5.0)
        assert spec.train.learning_rate == 0.02
        assert spec.train.weight_decay == {"default": 0.1}
        assert registry.resolve("model", spec.model).options.layers == (100, 50)
        assert isinstance(spec.columns, Mapping)
        weekday = registry.resolve("column", spec.columns["weekday"]).options
        assert (weekday.from_, weekday.part) == ("timestamp", "weekday")

    def test_name_and_folder(
        self, movies: str, registry: Registry, tmp_path: Path, write_spec: Callable[[str], str]
    ) -> None:
        document = read_spec(tmp_path / write_spec(movies), registry)
        assert document.name == "movies"
        assert document.folder == tmp_path
        assert document.spec.data == Rows(path="ratings.csv")

    def test_a_file_with_a_byte_order_mark_and_windows_lines(
        self, movies: str, registry: Registry, tmp_path: Path
    ) -> None:
        path = tmp_path / "movies.yaml"
        path.write_bytes(movies.replace("\n", "\r\n").encode("utf-8-sig"))
        assert read_spec(path, registry).spec.seed == 42

    def test_no_such_file(self, registry: Registry) -> None:
        assert _problems("nowhere.yaml", registry) == ["nowhere.yaml: no such file"]

    def test_a_folder(self, registry: Registry, tmp_path: Path) -> None:
        assert _problems(tmp_path, registry) == [f"{tmp_path}: cannot be read: Is a directory"]

    def test_a_path_with_a_null_character(self, registry: Registry) -> None:
        (problem,) = _problems("a\0.yaml", registry)
        assert problem.endswith("cannot be read: embedded null byte")

    def test_a_file_that_is_no_text(self, registry: Registry, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_bytes(b"tabcf: 1\nname: \xff\n")
        assert _problems(path, registry) == [f"{path}: expected UTF-8 text; line 2 is not"]

    def test_a_file_that_is_too_large(self, registry: Registry, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_bytes(b"#" * 1_000_001)
        assert _problems(path, registry) == [
            f"{path}: expected at most 1,000,000 bytes; is it a spec?"
        ]


class TestMappings:
    def test_shortest(self, registry: Registry) -> None:
        document = read_spec(PLAIN, registry)
        assert document.spec.target.column == "price"
        assert (document.name, document.folder) == ("spec", None)

    def test_messages_start_with_the_path(self, registry: Registry) -> None:
        assert _problems({**PLAIN, "seed": -1, "loss": "mes"}, registry) == [
            "seed: expected an integer of at least 0, got -1",
            "loss: no loss named 'mes'; did you mean 'mse'? known: bce, cross_entropy, huber, "
            "mae, mse, softmax",
        ]

    def test_tuples_paths_and_components_are_taken(self, registry: Registry) -> None:
        given = {
            **PLAIN,
            "data": Path("a") / "b.csv",
            "model": {"tabular": {"layers": (3, 4)}},
            "loss": Component(name="huber", options={"delta": 2.0}),
            "metrics": ("rmse", "mae"),
        }
        spec = read_spec(given, registry).spec
        assert spec.data == Rows(path=str(Path("a") / "b.csv"))
        assert registry.resolve("model", spec.model).options.layers == (3, 4)
        assert registry.resolve("loss", spec.loss).options.delta == 2.0

    def test_options_of_a_component_record_are_checked(self, registry: Registry) -> None:
        given = {**PLAIN, "loss": Component(name="huber", options={"delta": -1})}
        assert _problems(given, registry) == ["loss.delta: expected a positive number, got -1"]

    def test_other_things_are_named_by_their_type(self, registry: Registry) -> None:
        assert _problems({**PLAIN, "data": object()}, registry) == [
            "data: expected text or a mapping, got an object"
        ]

    def test_a_mapping_that_holds_itself(self, registry: Registry) -> None:
        given: dict[str, Any] = {**PLAIN}
        given["columns"] = given
        assert _problems(given, registry) == [
            "columns.columns.columns: expected at most 30 levels of nesting"
        ]

    def test_a_spec_as_pydantic_dumps_it_reads_as_itself(
        self, movies: str, registry: Registry, write_spec: Callable[[str], str]
    ) -> None:
        spec = read_spec(write_spec(movies), registry).spec
        assert read_spec(spec.model_dump(), registry).spec == spec


class TestShorthands:
    def test_records(self, registry: Registry) -> None:
        spec = read_spec({**PLAIN, "train": {"early_stopping": 7}}, registry).spec
        assert spec.train.early_stopping is not None
        assert spec.train.early_stopping.patience == 7

    def test_positives(self, registry: Registry) -> None:
        given = {
            "tabcf": 1,
            "target": {"implicit": "rating >= 4"},
            "entities": PAIR,
            "model": {"ease": 200},
        }
        spec = read_spec(given, registry).spec
        assert spec.target.implicit is not None
        assert spec.target.implicit.positive == "rating >= 4"
        assert registry.resolve("model", spec.model).options.l2 == 200

    def test_a_shorthand_may_be_a_field_with_an_alias(self) -> None:
        class Given(Options):
            shorthand: ClassVar[str | None] = "from_"

            from_: PositiveInt = Field(default=1, alias="from")

        assert parse_options(Given, {"": 3}) == Given.model_validate({"from": 3})
        assert Given.model_json_schema()["anyOf"][0]["type"] == "integer"


class TestOverrides:
    def _read(self, registry: Registry, *overrides: str, **more: Any) -> SpecDocument:
        return read_spec({**PLAIN, **more}, registry, overrides=overrides)

    def test_a_value_is_replaced(self, registry: Registry) -> None:
        document = self._read(registry, "train.epochs=3", train={"epochs": 5, "batch_size": 7})
        assert document.spec.train.epochs == 3
        assert document.spec.train.batch_size == 7

    def test_a_value_is_added(self, registry: Registry) -> None:
        assert self._read(registry, "train.learning_rate=2e-2").spec.train.learning_rate == 0.02

    def test_an_option_is_set_in_a_bare_component(self, registry: Registry) -> None:
        document = self._read(registry, "model.tabular.layers=[50]")
        assert registry.resolve("model", document.spec.model).options.layers == (50,)

    def test_an_option_is_set_beside_others(self, registry: Registry) -> None:
        document = self._read(
            registry, "model.tabular.dropout=0.5", model={"tabular": {"layers": [9]}}
        )
        assert document.spec.model.options == {"layers": [9], "dropout": 0.5}

    def test_a_path_into_another_component_replaces_it(self, registry: Registry) -> None:
        document = self._read(registry, "loss.huber.delta=2", loss="mse")
        assert document.tree["loss"] == {"huber": {"delta": 2}}

    def test_an_option_is_set_beside_a_shorthand(self, registry: Registry) -> None:
        document = self._read(registry, "split.official.valid=0.1", split={"official": "u2"})
        assert document.tree["split"] == {"official": {"fold": "u2", "valid": 0.1}}

    def test_a_field_is_set_beside_a_records_shorthand(self, registry: Registry) -> None:
        document = self._read(registry, "target.levels=[1, 2]")
        assert document.spec.target.column == "price"
        assert document.spec.target.levels == (1, 2)

    def test_a_position_is_replaced_or_appended(self, registry: Registry) -> None:
        document = self._read(registry, "metrics[0]=mae", "metrics[1]=rmse", metrics=["rmse"])
        assert [metric.name for metric in document.spec.metrics or ()] == ["mae", "rmse"]

    def test_the_later_one_wins(self, registry: Registry) -> None:
        document = self._read(registry, "train.epochs=3", "train={}", "seed=1", "seed=2")
        assert document.spec.train.epochs == 5
        assert document.spec.seed == 2

    def test_nothing_clears_a_value(self, registry: Registry) -> None:
        assert self._read(registry, "loss=", loss="mse").spec.loss is None

    def test_the_given_mapping_stays_as_it_is(self, registry: Registry) -> None:
        given = {**PLAIN, "train": {"epochs": 5}}
        read_spec(given, registry, overrides=["train.epochs=3"])
        assert given["train"] == {"epochs": 5}

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("train.epochs=x", "expected a positive integer, got 'x'"),
            ("train.epochs=", "expected a positive integer, got nothing"),
            (
                "model.tabular.layers=[50, -1]",
                "model.layers[1]: expected a positive integer, got -1",
            ),
            ("model.tabular.layers[0]=-1", "expected a positive integer, got -1"),
            ("train.refit=yes", "expected true or false, got 'yes'"),
            (
                "sede=1",
                "unknown key 'sede'; did you mean 'seed'? known: tabcf, name, plugins, "
                "data, target, entities, columns, model, fit, loss, negatives, metrics, split, "
                "unknown, duplicates, train, retrieve, rerank, track, tune, seed",
            ),
            (
                "loss=mes",
                "no loss named 'mes'; did you mean 'mse'? known: bce, cross_entropy, "
                "huber, mae, mse, softmax",
            ),
            ("loss.mse.x=1", "unknown key 'x'; there are no options"),
            ("train.epochs", "expected PATH=VALUE, such as train.epochs=3"),
            ("=3", "expected PATH=VALUE, such as train.epochs=3"),
            ("train..epochs=3", "expected PATH=VALUE, such as train.epochs=3"),
            (
                "train.epochs=[1",
                "not valid YAML: did not find expected ',' or ']' while parsing a flow sequence",
            ),
            (
                "seed=!!python/name:os.system",
                "the tag !!python/name:os.system is not allowed; write plain values",
            ),
            ("train={epochs: 1, epochs: 2}", "epochs: given twice"),
            ("seed.x=3", "seed is 42, not a mapping"),
            ("metrics[3]=rmse", "metrics is a list of 0; it has no position 3"),
            ("train[0]=1", "train is an empty mapping; it has no position 0"),
        ],
    )
    def test_a_mistake_is_told_with_the_override(
        self, override: str, message: str, registry: Registry
    ) -> None:
        given = {**PLAIN, "seed": 42, "metrics": [], "train": {}}
        first = _problems(given, registry, overrides=[override])[0]
        assert first == f"--set {override}: {message}"

    def test_mistakes_of_the_file_come_first(
        self, movies: str, registry: Registry, write_spec: Callable[[str], str]
    ) -> None:
        path = write_spec(movies.replace("seed: 42", "seed: x"))
        assert _problems(path, registry, overrides=["train.epochs=x", "loss=5"]) == [
            "movies.yaml:20:7: seed: expected an integer of at least 0, got 'x'",
            "--set train.epochs=x: expected a positive integer, got 'x'",
            "--set loss=5: expected one name, or a mapping with one key, got 5",
        ]

    def test_a_component_that_an_override_replaced_is_its_own_mistake(
        self, registry: Registry
    ) -> None:
        given = {**PLAIN, "target": {"column": "stars", "levels": [1, 2]}, "loss": "mse"}
        assert _problems(given, registry, overrides=["loss.bce={}"]) == [
            "--set loss.bce={}: loss: bce takes binary targets, and this one is rating; losses "
            "that fit: cross_entropy, huber, mae, mse"
        ]


class TestKnownColumns:
    TABLES: ClassVar[Mapping[str, list[str]]] = {
        "event": ["user_id", "item_id", "rating", "timestamp"],
        "item": ["item_id", "title", "year", "genre"],
    }

    def test_all_there(
        self, movies: str, registry: Registry, write_spec: Callable[[str], str]
    ) -> None:
        path = write_spec(movies.replace(', genres: {set: {separator: "|"}}', ""))
        assert read_spec(path, registry, columns=self.TABLES).spec.seed == 42

    def test_each_missing_one_is_told(
        self, movies: str, registry: Registry, write_spec: Callable[[str], str]
    ) -> None:
        text = movies.replace("column: rating", "column: ratings").replace("user_id", "usr")
        path = write_spec(text.replace("from: timestamp", "from: item.years"))
        events = "known: item_id, rating, timestamp, user_id"
        items = "known: genre, item_id, title, year"
        assert _problems(path, registry, columns=self.TABLES) == [
            "movies.yaml:3:18: target.column: no column 'ratings' in the events; did you mean "
            f"'rating'? {events}",
            "movies.yaml:6:9: entities.user.id: no column 'usr' in the events; did you mean "
            f"'user_id'? {events}",
            "movies.yaml:13:37: entities.item.columns.genres: no column 'genres' in the table of "
            f"item; did you mean 'genre'? {items}",
            "movies.yaml:15:12: columns.weekday: no column 'years' in the table of item; did "
            f"you mean 'year'? {items}",
        ]

    def test_a_metrics_column_is_looked_for_in_the_items_table(
        self, movies: str, write_spec: Callable[[str], str]
    ) -> None:
        metrics = "metrics: [rmse, {diversity: genres}, {miscalibration: {of: yeer, k: 3}}]"
        path = write_spec(movies.replace(', genres: {set: {separator: "|"}}', "") + metrics + "\n")
        items = "known: genre, item_id, title, year"
        assert _problems(path, builtin_registry(), columns=self.TABLES) == [
            "movies.yaml:21:17: metrics[1]: diversity: no column 'genres' in the table of item; "
            f"did you mean 'genre'? {items}",
            "movies.yaml:21:38: metrics[2]: miscalibration: no column 'yeer' in the table of item; "
            f"did you mean 'year'? {items}",
        ]
        right = {"item": [*self.TABLES["item"], "genres", "yeer"]}
        assert read_spec(path, builtin_registry(), columns=right).spec.seed == 42

    def test_a_metrics_column_needs_a_table_of_the_items(self) -> None:
        given = {**PLAIN, "entities": PAIR, "metrics": [{"diversity": "genres"}]}
        assert _problems(given, builtin_registry()) == [
            "metrics[0]: diversity reads 'genres' from the items' table, and item has none; give "
            "`entities.item.table`"
        ]


def test_the_grammar_knows_each_place_of_a_component() -> None:
    """Walk the record's fields: wherever one is a component, COMPONENTS has its kind."""
    entity = {"id": "x", "columns": {"a": "k"}}
    spec = Spec.model_validate(
        {
            "tabcf": 1,
            "target": "x",
            "entities": {"e": entity},
            **dict.fromkeys(("model", "fit", "loss", "split", "unknown"), "k"),
            "metrics": ["k"],
            "track": ["k"],
            "negatives": "k",
            "rerank": "k",
            "columns": {"c": "k"},
            "train": {"schedule": "k"},
        }
    )
    found: set[str | None] = set()

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, Component):
            assert kind_at(path) is not None, path
            found.add(kind_at(path))
        elif isinstance(value, Options):
            for name in type(value).model_fields:
                walk(getattr(value, name), (*path, name))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                walk(item, (*path, key))
        elif isinstance(value, tuple):
            for position, item in enumerate(value):
                walk(item, (*path, position))

    walk(spec, ())
    walk(spec.model_copy(update={"rerank": (Component(name="k"),) * 2}), ())
    assert found == {kind for kind, _ in COMPONENTS}


def test_an_option_record_may_have_types_of_its_own(registry: Registry) -> None:
    """A plugin's record can hold what no JSON Schema describes; messages then are pydantic's."""

    class Own(Options):
        call: Callable[[], int] | None = None

    registry.add(
        [ScheduleDefinition(name="own", options=Own, summary="", build=_not_built)],
        origin="a plugin",
    )
    given = {**PLAIN, "train": {"schedule": {"own": {"call": [1]}}}}
    assert _problems(given, registry) == ["train.schedule.call: expected callable, got [1]"]


_WORDS = st.sampled_from(
    [
        "tabcf",
        "target",
        "model",
        "loss",
        "train",
        "columns",
        "entities",
        "user",
        "id",
        "mse",
        "tabular",
        "epochs",
        "auto",
        "x",
        "name",
        "options",
        "",
        "split",
        "random",
        "metrics",
        "schedule",
        "from",
        "category",
        "implicit",
        "weight_decay",
        "early_stopping",
    ]
)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(more=st.dictionaries(_WORDS, _ANYTHING, max_size=6))
def test_any_mapping_is_read_or_refused_with_lines(
    more: dict[str, Any], registry: Registry
) -> None:
    problems: tuple[str, ...] = ("one",)
    try:
        read_spec({**PLAIN, **more}, registry)
    except SpecError as error:
        problems = error.problems
    assert problems
    assert all(len(line.splitlines()) == 1 for line in problems)


def test_the_room_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, tabcf.spec.read, tabcf.spec.schema, tabcf.spec.reference, tabcf.spec.explain;"
        "print(sorted({'torch', 'pandas', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
