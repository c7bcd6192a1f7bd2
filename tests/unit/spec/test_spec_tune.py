"""`tune` in a spec: what is refused, with its place, and what the schema says of it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tabcf.errors import SpecError
from tabcf.run.builtins import builtin_registry
from tabcf.spec.read import read_spec
from tabcf.spec.schema import json_schema
from tabcf.spec.tune import seconds_of
from tabcf.spec.tune_check import tune_problems
from tabcf.tuning.space import default_space, space_of

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "data": "x.csv",
    "target": "rating",
    "entities": {"user": {"id": "u"}, "item": {"id": "i"}},
    "model": {"dot_product_bias": {"factors": 20}},
}
REGISTRY = builtin_registry()


def _space(**space: Any) -> dict[str, Any]:
    return {**SPEC, "tune": {"space": {k.replace("__", "."): v for k, v in space.items()}}}


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"time": "10 minutes"}, "tune.time: expected a time such as 90s, 10min or 2h"),
        ({"time": "0s"}, "tune.time: expected a time such as"),
        ({"trials": 0}, "tune.trials: expected a positive integer, got 0"),
        ({"metrc": "rmse"}, "tune: unknown key 'metrc'; did you mean 'metric'?"),
        ({"sampler": "cmaes"}, "tune.sampler: expected one of tpe, random, got 'cmaes'"),
        ({"space": {}}, "tune.space: expected at least one value to try"),
        ({"space": {"train.epochs": [3]}}, "at least two values for train.epochs"),
        ({"space": {"train.epochs": {"low": 3}}}, "tune.space.train.epochs.high: is required"),
        ({"space": {"train.l2": {"low": 2, "high": 1}}}, "expected low below high, got 2 and 1"),
        (
            {"space": {"train.l2": {"low": 0, "high": 1, "log": True}}},
            "expected a low above 0 with log, got 0",
        ),
        (
            {"space": {"train.lr": [1, 2]}},
            "tune.space.train.lr: cannot be 1: train: unknown key 'lr'",
        ),
        (
            {"space": {"train.learning_rate": {"low": 0, "high": 1}}},
            "cannot be 0: train.learning_rate: expected a positive number, got 0",
        ),
        (
            {"space": {"model.dot_product.factors": [8, 16]}},
            "tune.space.model.dot_product.factors: cannot be 8: model.dot_product is not what",
        ),
        ({"space": {"seed": [1, 2]}}, "tune.space.seed: seed decides on the rows or on what"),
        ({"space": {"split": ["random", "time"]}}, "split decides on the rows"),
        ({"space": {"metrics": [["rmse"], ["mae"]]}}, "metrics decides on the rows or on what"),
        ({"space": {"entities.user.id": ["u", "v"]}}, "of entities only their columns can be"),
        ({"space": {"model": ["ease", "dot_product"]}}, "tune.space.model: cannot be 'ease'"),
        (
            {"space": {"train.epochs": [1, 2], "train": [{}, {"epochs": 3}]}},
            "tune.space.train: lies within train.epochs or around it",
        ),
        ({"space": {"a b": [1, 2]}}, "expected a path such as train.learning_rate, got 'a b'"),
    ],
)
def test_what_is_wrong_is_said(tune: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec({**SPEC, "tune": tune}, REGISTRY)
    assert message in str(caught.value)


def test_a_problem_has_the_place_of_its_line(write_spec: Any) -> None:
    path = write_spec(
        "tabcf: 1\ntarget: rating\ndata: x.csv\nmodel: tabular\n"
        "tune:\n  space:\n    train.epochs: [1, 2]\n    train.batch_size: [0, 8]\n"
    )
    with pytest.raises(SpecError, match=r"^movies.yaml:8:5: tune.space.train.batch_size: cannot"):
        read_spec(path, REGISTRY)


@pytest.mark.parametrize(
    ("time", "seconds"), [("90s", 90), ("10min", 600), ("1.5 h", 5400), (12, 12), (None, None)]
)
def test_times_are_read(time: Any, seconds: float | None) -> None:
    assert seconds_of(time) == seconds


def test_the_schema_takes_what_the_reader_takes() -> None:
    given = _space(
        train__learning_rate={"low": 1e-3, "high": 0.1, "log": True},
        model__dot_product_bias__factors=[8, 16],
        train__schedule=["one_cycle", "constant"],
    )
    given["tune"] |= {"trials": 5, "time": "10min", "metric": "rmse", "pruner": "hyperband"}
    read_spec(given, REGISTRY)
    schema = json_schema(REGISTRY)
    jsonschema.validate(given, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**given, "tune": {"trials": "many"}}, schema)


@pytest.mark.parametrize("kind", ["model", "fit"])
def test_every_space_of_a_definition_can_be_tried(kind: str) -> None:
    for name in REGISTRY.names(kind):
        definition = REGISTRY.get(kind, name)
        if not definition.space:
            continue
        of_lists = definition.targets == {"implicit"}
        spec = {**SPEC, "target": {"implicit": {}} if of_lists else "rating"}
        spec["model"] = name if kind == "model" else next(iter(definition.models))
        spec["fit" if kind == "fit" else "seed"] = name if kind == "fit" else 1
        if name == "tabular":
            spec["entities"] = {}
        document = read_spec(spec, REGISTRY)
        space = default_space(document.spec, REGISTRY)
        assert any(path.startswith(f"{kind}.{name}.") for path in space)
        with_space = read_spec({**spec, "tune": {"space": space}}, REGISTRY)
        assert tune_problems(with_space.tree, with_space.spec, REGISTRY) == []


def test_a_model_with_nothing_to_try_needs_a_space() -> None:
    document = read_spec({**SPEC, "model": "mean"}, REGISTRY)
    with pytest.raises(SpecError, match=r"tune.space: is required, since the model mean has"):
        default_space(document.spec, REGISTRY)


def test_ends_that_are_integers_are_of_integers_only_where_nothing_else_fits() -> None:
    document = read_spec(
        _space(train__epochs={"low": 1, "high": 9}, train__learning_rate={"low": 1, "high": 9}),
        REGISTRY,
    )
    epochs, rate = space_of(document.spec, document.tree, REGISTRY)
    assert (epochs.is_whole, rate.is_whole) == (True, False)
    assert epochs.value(4) == 4
    assert rate.value(4.123456) == 4.123
    assert rate.value(8.99999) == 9.0
