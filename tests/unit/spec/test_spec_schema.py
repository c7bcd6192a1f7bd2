"""The JSON Schema takes what the reader takes, and refuses what has no meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import create_model

from tabcf.contracts.definitions import SplitDefinition
from tabcf.contracts.options import Options
from tabcf.plugin.registry import Registry
from tabcf.spec.document import parse_document
from tabcf.spec.read import read_spec
from tabcf.spec.schema import json_schema

PLAIN: Mapping[str, Any] = {"tabcf": 1, "target": "price", "model": "tabular"}
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def _not_built(*_: Any) -> Any:
    raise AssertionError("describing a grammar builds nothing")


@pytest.fixture
def schema(registry: Registry) -> dict[str, Any]:
    return json_schema(registry)


def _validator(schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


def test_it_is_a_schema_of_the_stated_draft(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_whole_spec_is_valid(schema: dict[str, Any], movies: str) -> None:
    _validator(schema).validate(parse_document(movies, "movies.yaml").tree)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid_with_what_the_package_registers(path: Path) -> None:
    from tabcf.run.builtins import builtin_registry

    tree = parse_document(path.read_text(encoding="utf-8"), path.name).tree
    _validator(json_schema(builtin_registry())).validate(tree)
    assert read_spec(path, builtin_registry()).name == path.stem


@pytest.mark.parametrize(
    "more",
    [
        {"loss": "mse"},
        {"loss": {"mse": None}},
        {"loss": {"mse": {}}},
        {"loss": {"huber": 0.5}},
        {"loss": {"huber": {"delta": 0.5}}},
        {"split": {"official": "u1"}},
        {"split": {"official": {"fold": "u1", "valid": 0.1}}},
        {"metrics": ["rmse", "mae"]},
        {"columns": "auto"},
        {"columns": {"day": {"date_part": {"from": "time", "part": "month"}}}},
        {"train": {"weight_decay": 0.1}},
        {"train": {"weight_decay": {"default": 0.1, "day": 0}}},
        {"train": {"early_stopping": 3, "schedule": {"cosine": {"warmup": 0.1}}}},
        {"target": {"column": "price", "levels": [1, 2]}},
        {"model": {"tabular": {"widths": 3}}},
        {"model": {"tabular": {"widths": {"day": 3}, "y_range": [0, 1]}}},
        {"seed": 0, "name": None},
    ],
    ids=str,
)
def test_every_form_that_the_reader_takes(
    more: dict[str, Any], schema: dict[str, Any], registry: Registry
) -> None:
    _validator(schema).validate({**PLAIN, **more})
    read_spec({**PLAIN, **more}, registry)


@pytest.mark.parametrize(
    "more",
    [
        {"tabcf": 2},
        {"target": None},
        {"sede": 1},
        {"loss": "mes"},
        {"loss": {"mse": 3}},
        {"loss": {"mse": {"delta": 1}}},
        {"loss": {"huber": {"delta": 0}}},
        {"loss": {"mse": {}, "mae": {}}},
        {"loss": {"name": "mse", "options": {}}},
        {"loss": {}},
        {"loss": "tabular"},
        {"split": "official"},
        {"split": {"official": None}},
        {"split": {"official": "u9"}},
        {"metrics": "rmse"},
        {"columns": "all"},
        {"columns": {"day": {"date_part": {"from_": "time", "part": "month"}}}},
        {"train": {"epochs": 0}},
        {"train": {"epochs": "5"}},
        {"train": {"schedule": "mse"}},
        {"model": {"tabular": {"layers": [50, -1]}}},
        {"model": {"tabular": {"y_range": [0]}}},
    ],
    ids=str,
)
def test_forms_without_a_meaning(more: dict[str, Any], schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match=r"."):
        _validator(schema).validate({**PLAIN, **more})


def test_records_and_components_bring_their_docstrings(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    assert schema["properties"]["seed"]["description"] == "Where all randomness starts."
    assert definitions["Huber"]["anyOf"][1]["properties"]["delta"]["description"] == (
        "Where it turns straight."
    )
    forms = definitions["loss_component"]["oneOf"]
    assert forms[0] == {"enum": ["bce", "cross_entropy", "huber", "mae", "mse", "softmax"]}
    assert [form["description"] for form in forms[1:3]] == [
        "The loss bce.",
        "The loss cross_entropy.",
    ]


def test_each_place_of_a_component_points_to_its_kind(schema: dict[str, Any]) -> None:
    properties = schema["properties"]
    columns = {"$ref": "#/$defs/column_component"}
    assert properties["model"]["$ref"] == "#/$defs/model_component"
    assert properties["metrics"]["anyOf"][0]["items"] == {"$ref": "#/$defs/metric_component"}
    assert properties["columns"]["anyOf"][1]["additionalProperties"] == columns
    entity = schema["$defs"]["Entity"]["properties"]
    assert entity["columns"]["additionalProperties"] == columns
    train = schema["$defs"]["Train"]["properties"]
    assert train["schedule"]["$ref"] == "#/$defs/schedule_component"
    assert train["schedule"]["default"] == "one_cycle"
    assert "Component" not in schema["$defs"]


def test_records_of_one_name_from_two_plugins_are_kept_apart(registry: Registry) -> None:
    one = create_model("Shares", __base__=Options, __module__="plugin_one", left=(int, 0))
    two = create_model("Shares", __base__=Options, __module__="plugin_two", right=(int, 0))
    for name, record in (("one", one), ("two", two)):
        split = SplitDefinition(name=name, options=record, summary="", assign=_not_built)
        registry.add([split], origin=name)
    validator = _validator(json_schema(registry))
    validator.validate({**PLAIN, "split": {"two": {"right": 1}}})
    with pytest.raises(jsonschema.ValidationError, match="not valid under any"):
        validator.validate({**PLAIN, "split": {"two": {"left": 1}}})


def test_a_kind_without_components_takes_nothing() -> None:
    validator = _validator(json_schema(Registry()))
    with pytest.raises(jsonschema.ValidationError, match="'tabular' is not valid"):
        validator.validate(PLAIN)
