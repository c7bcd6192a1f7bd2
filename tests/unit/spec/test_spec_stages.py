"""Two stages in one spec: what the first one is, and what keeps it from finding items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry
from tabcf.spec.document import parse_document
from tabcf.spec.explain import explain
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec
from tabcf.spec.references import spec_columns
from tabcf.spec.schema import json_schema
from tabcf.spec.stages import first_stage

RETRIEVE = """\
retrieve:
  n: 50
  target: {implicit: {positive: "rating >= 4"}}
  model: {dot_product_bias: 16}
  loss: softmax
  train: {epochs: 9, weight_decay: 0.5}
"""


@pytest.fixture
def read(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> Callable[..., tuple[Spec, Spec]]:
    """A spec and its first stage, by the text of `retrieve`."""

    def read(text: str = RETRIEVE, **changes: str) -> tuple[Spec, Spec]:
        whole = movies
        for old, new in changes.items():
            assert old in whole
            whole = whole.replace(old, new, 1)
        spec = read_spec(write_spec(whole + text), registry).spec
        return spec, first_stage(spec, registry, spec_columns(spec, registry))

    return read


@pytest.fixture
def problems(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> Callable[..., list[str]]:
    """What is wrong with the spec, whose `retrieve` starts on line 21."""

    def problems(text: str, changes: dict[str, str] | None = None) -> list[str]:
        whole = movies
        for old, new in (changes or {}).items():
            assert old in whole
            whole = whole.replace(old, new, 1)
        with pytest.raises(SpecError) as caught:
            read_spec(write_spec(whole + text), registry)
        return [line.removeprefix("movies.yaml:") for line in caught.value.problems]

    return problems


def test_the_first_stage_shares_what_it_does_not_name(read: Callable[..., Any]) -> None:
    spec, first = read()
    for name in ("data", "split", "seed", "duplicates", "plugins"):
        assert getattr(first, name) == getattr(spec, name)
    assert first.retrieve is None
    assert first.target.implicit.positive == "rating >= 4"
    assert (first.model.name, first.loss.name) == ("dot_product_bias", "softmax")
    assert (first.train.epochs, dict(first.train.weight_decay)) == (9, {"default": 0.5})
    # Of the rest of `train` the defaults count, not what the spec's own model has.
    assert (first.train.batch_size, first.train.learning_rate) == (512, 5e-3)


def test_it_sees_the_columns_of_users_and_items(read: Callable[..., Any]) -> None:
    spec, first = read()
    assert first.entities == spec.entities
    assert first.columns == {}
    text = RETRIEVE + "  columns: [user.age]\n"
    _, first = read(text)
    assert list(first.entities["user"].columns) == ["age"]
    assert list(first.entities["item"].columns) == []
    _, first = read("retrieve: {model: ease, target: {implicit: {}}}\n")
    assert [list(entity.columns) for entity in first.entities.values()] == [[], []]


def test_events_columns_are_seen_where_they_are_named(read: Callable[..., Any]) -> None:
    text = "retrieve: {model: dot_product_bias, columns: [weekday, item.year]}\n"
    _, first = read(text)
    assert list(first.columns) == ["weekday"]
    assert list(first.entities["item"].columns) == ["year"]


def test_it_is_measured_by_what_it_finds_and_by_the_specs_metrics_of_lists(
    read: Callable[..., Any],
) -> None:
    def shown(spec: Spec) -> list[tuple[str, Any]]:
        return [(metric.name, *metric.options.values()) for metric in spec.metrics]

    assert shown(read()[1]) == [("recall", 50), ("ndcg", 10), ("recall", 10)]
    text = RETRIEVE + "metrics: [rmse, {ndcg: 5}, {recall: {k: 50}}]\n"
    assert shown(read(text)[1]) == [("recall", 50), ("ndcg", 5)]


def test_rows_and_device_are_the_specs_own(read: Callable[..., Any]) -> None:
    changes = {"epochs: 5": "refit: true, device: cpu, threads: 2"}
    spec, first = read(**changes)
    assert (first.train.refit, first.train.device, first.train.threads) == (True, "cpu", 2)
    assert spec.retrieve.train == first.train
    _, first = read(RETRIEVE.replace("epochs: 9", "threads: 1"), **changes)
    assert (first.train.refit, first.train.threads) == (True, 1)
    again = Spec.model_validate(spec.model_dump(mode="json"))
    assert again == spec


def test_a_columns_own_columns_are_named_with_it(problems: Callable[..., list[str]]) -> None:
    changes = {
        "columns:\n": "columns:\n  when: {category: {from: weekday}}\n",
    }
    text = "retrieve: {model: dot_product_bias, columns: [when]}\n"
    assert problems(text, changes) == [
        "22:47: retrieve.columns[0]: `when` is made from `weekday`; name that too"
    ]


def test_a_further_entity_comes_with_its_columns_or_its_own_name(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    device = "  device: {id: device_id, table: devices.csv, columns: {brand: category}}\n"
    text = movies.replace("columns:\n  weekday", f"{device}columns:\n  weekday")
    for columns, kept, brands in (
        ("[]", [], []),
        ("[device]", ["device"], []),
        ("[device.brand]", ["device"], ["brand"]),
    ):
        retrieve = f"retrieve: {{model: dot_product_bias, columns: {columns}}}\n"
        spec = read_spec(write_spec(text + retrieve), registry).spec
        first = first_stage(spec, registry, spec_columns(spec, registry))
        assert list(first.entities) == ["user", "item", *kept]
        assert [name for key in kept for name in first.entities[key].columns] == brands


BROKEN: list[tuple[str, str, dict[str, str], list[str]]] = [
    ("no model", "retrieve: {n: 5}\n", {}, ["21:11: retrieve.model: is required"]),
    (
        "an unknown key",
        "retrieve: {model: ease, nn: 5}\n",
        {},
        [
            "21:25: retrieve: unknown key 'nn'; did you mean 'n'? known: model, n, target, loss, "
            "negatives, unknown, columns, train"
        ],
    ),
    (
        "a word for a number",
        "retrieve: {model: dot_product_bias, n: all}\n",
        {},
        ["21:40: retrieve.n: expected a positive integer, got 'all'"],
    ),
    (
        "an unknown model",
        "retrieve: {model: dot_produkt_bias}\n",
        {},
        [
            "21:19: retrieve.model: no model named 'dot_produkt_bias'; did you mean "
            "'dot_product_bias'? known: dot_product_bias, ease, embedding_nn, tabular"
        ],
    ),
    (
        "a wrong option of its model",
        "retrieve: {model: {dot_product_bias: {factors: 0}}}\n",
        {},
        ["21:48: retrieve.model.factors: expected a positive integer, got 0"],
    ),
    (
        "a wrong option of its training",
        "retrieve: {model: dot_product_bias, train: {epochs: 0, schedule: cosin}}\n",
        {},
        [
            "21:53: retrieve.train.epochs: expected a positive integer, got 0",
            "21:66: retrieve.train.schedule: no schedule named 'cosin'; did you mean 'cosine'? "
            "known: constant, cosine, one_cycle",
        ],
    ),
    (
        "a model for another target",
        "retrieve: {model: ease}\n",
        {},
        [
            "21:19: retrieve.model: ease learns implicit targets, and this one is rating; models "
            "that fit: dot_product_bias, embedding_nn, tabular"
        ],
    ),
    (
        "a loss for another target",
        "retrieve: {model: dot_product_bias, loss: softmax}\n",
        {},
        [
            "21:43: retrieve.loss: softmax takes implicit targets, and this one is rating; losses "
            "that fit: cross_entropy, huber, mae, mse"
        ],
    ),
    (
        "a loss beside a closed form",
        "retrieve: {model: ease, loss: softmax, target: {implicit: {}}}\n",
        {},
        [
            "21:31: retrieve.loss: ease is solved in closed form, so there is no loss to choose; "
            "leave out `loss`"
        ],
    ),
    (
        "an event's column before a loss of whole catalogues",
        "retrieve: {model: dot_product_bias, target: {implicit: {}}, columns: [weekday]}\n",
        {},
        [
            "21:11: retrieve.loss: softmax scores a user's whole catalogue at once, and an item "
            "that nobody chose has no event to take `weekday` from; leave that out, or take "
            "columns that belong to a user or an item"
        ],
    ),
    (
        "columns that are not there",
        "retrieve: {model: dot_product_bias, columns: [user.agee, user]}\n",
        {},
        [
            "21:47: retrieve.columns[0]: the spec has no column 'user.agee'; did you mean "
            "'user.age'? known: user.gender, user.age, item.year, item.genres, weekday",
            "21:58: retrieve.columns[1]: the ids of user are always there; name further columns "
            "only",
        ],
    ),
    (
        "other rows than the second stage",
        "retrieve: {model: dot_product_bias, train: {refit: true}}\n",
        {},
        [
            "21:52: retrieve.train.refit: both stages are fitted on the same rows, and the spec's "
            "own train.refit is false; leave it out here"
        ],
    ),
    (
        "fewer items than a metric looks at",
        "retrieve: {model: dot_product_bias, n: 20}\n",
        {"seed: 42": "metrics: [rmse, {ndcg: 10}, {recall: 30}]"},
        ["21:40: retrieve.n: finds 20 items, and the metric recall looks at 30; find more"],
    ),
    (
        "fewer items than the default metrics look at",
        "retrieve: {model: dot_product_bias, n: 5}\n",
        {},
        [
            "21:40: retrieve.n: finds 5 items, and the metric ndcg looks at 10; find more",
            "21:40: retrieve.n: finds 5 items, and the metric recall looks at 10; find more",
        ],
    ),
    (
        "several numbers to rank by",
        "retrieve: {model: dot_product_bias, target: {columns: [rating, age]}}\n",
        {},
        [
            "21:19: retrieve.model: dot_product_bias gives a single number, and the target has 2 "
            "columns; models with several outputs: embedding_nn, tabular",
            "21:55: retrieve.target.columns: several numbers give items no order, and lists come "
            "from two stages; predict one column",
        ],
    ),
    (
        "early stopping without validation rows",
        "retrieve: {model: dot_product_bias, train: {early_stopping: 2}}\n",
        {"valid: 0.1": "valid: 0"},
        [
            "21:61: retrieve.train.early_stopping: needs a validation part, and the split random "
            "leaves none; give the split a `valid` share"
        ],
    ),
]


@pytest.mark.parametrize(
    ("text", "changes", "lines"), [pytest.param(*rest, id=name) for name, *rest in BROKEN]
)
def test_a_mistake_in_the_first_stage(
    text: str, changes: dict[str, str], lines: list[str], problems: Callable[..., list[str]]
) -> None:
    assert problems(text, changes) == lines


def test_a_plain_table_has_nothing_to_find(registry: Registry) -> None:
    spec = {"tabcf": 1, "target": "price", "model": "tabular", "retrieve": {"model": "tabular"}}
    with pytest.raises(SpecError) as caught:
        read_spec(spec, registry)
    assert caught.value.problems == (
        "retrieve: finds items for users, so it needs the entities user and item; missing: user, "
        "item",
    )


@pytest.mark.parametrize("stage", ["retrieve.model", "model"])
def test_a_model_to_which_all_items_are_alike_gives_no_order(stage: str) -> None:
    spec: dict[str, Any] = {
        "tabcf": 1,
        "target": "rating",
        "entities": {"user": {"id": "u"}, "item": {"id": "i"}},
        "model": "dot_product",
        "retrieve": {"model": "bias"},
    }
    with pytest.raises(SpecError, match=f"^--set {stage}=mean: all items are alike to mean"):
        read_spec(spec, builtin_registry(), overrides=[f"{stage}=mean"])


def test_a_column_of_a_user_and_an_item_together_goes_with_no_lists(
    movies: str, write_spec: Callable[[str], str]
) -> None:
    text = movies.replace(
        "columns:\n", "columns:\n  both: {cross: {from: [user.gender, item.year]}}\n"
    )
    path = write_spec(text + "retrieve: {model: bias}\n")
    with pytest.raises(SpecError, match=r"15:9: columns.both: .*lists are asked for by `retrieve`"):
        read_spec(path, builtin_registry())


def test_single_values_are_set_from_outside(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    overrides = [
        "retrieve.n=20",
        "retrieve.model.dot_product_bias.factors=8",
        "retrieve.train.early_stopping.min_delta=0.5",
        "retrieve.target.implicit.positive=rating >= 5",
        "retrieve.train.weight_decay.user=2",
    ]
    spec = read_spec(write_spec(movies + RETRIEVE), registry, overrides=overrides).spec
    assert spec.retrieve is not None
    assert spec.retrieve.n == 20
    assert spec.retrieve.model.options == {"factors": 8}
    assert spec.retrieve.train.early_stopping is not None
    assert spec.retrieve.train.early_stopping.min_delta == 0.5
    assert spec.retrieve.target is not None
    assert spec.retrieve.target.implicit is not None
    assert spec.retrieve.target.implicit.positive == "rating >= 5"
    assert spec.retrieve.train.weight_decay == {"default": 0.5, "user": 2}


def test_every_value_is_explained(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    text = movies.replace("epochs: 5", "refit: true")
    document = read_spec(write_spec(text + RETRIEVE), registry)
    rows = {row.path: (row.value, row.origin) for row in explain(document, registry)}
    columns = ["user.gender", "user.age", "item.year", "item.genres"]
    assert rows["retrieve.n"] == (50, "movies.yaml:22")
    assert rows["retrieve.target.implicit.positive"] == ("rating >= 4", "movies.yaml:23")
    assert rows["retrieve.model"] == ("dot_product_bias", "movies.yaml:24")
    assert rows["retrieve.model.dot_product_bias.factors"] == (16, "movies.yaml:24")
    assert rows["retrieve.columns"] == (columns, "default")
    assert rows["retrieve.train.epochs"] == (9, "movies.yaml:26")
    assert rows["retrieve.train.refit"] == (True, "default")
    assert rows["metrics"] == ("[rmse, mae, {ndcg: 10}, {recall: 10}]", "default")
    bare = read_spec(write_spec(movies + "retrieve: {model: dot_product_bias}\n"), registry)
    rows = {row.path: (row.value, row.origin) for row in explain(bare, registry)}
    assert rows["retrieve.target"] == ("the spec's target", "default")
    assert rows["retrieve.loss"] == ("mse", "default")


def test_editors_know_it(movies: str) -> None:
    schema = json_schema(builtin_registry())
    validator = jsonschema.Draft202012Validator(schema)
    tree = parse_document(movies + RETRIEVE, "movies.yaml").tree
    assert [*validator.iter_errors(tree)] == []
    for key, value in (("n", 0), ("loss", "sofmax"), ("model", None), ("train", {"schedule": "x"})):
        wrong = {**tree, "retrieve": {**tree["retrieve"], key: value}}
        assert [*validator.iter_errors(wrong)] != [], key
