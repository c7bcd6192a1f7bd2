"""Every built-in part that has a suite for plugins' authors goes through it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tabcf.contracts.definitions import Definition
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry
from tabcf.spec.records import Component
from tabcf.testing import (
    ColumnContract,
    LossContract,
    MetricContract,
    ModelContract,
    RerankerContract,
)

REGISTRY = builtin_registry()
SUITES: dict[str, type] = {
    "loss": LossContract,
    "metric": MetricContract,
    "model": ModelContract,
    "column": ColumnContract,
    "reranker": RerankerContract,
}
ENTITIES = {
    "user": (
        "user_id",
        pd.DataFrame({"user_id": range(8), "age": [20, 31, None, 44, 52, 67, 18, 39]}),
    ),
    "item": ("item_id", None),
}
EVENTS = pd.DataFrame(
    {
        "user_id": [0, 1, 2, 3, 0, 1, 2, 0, 3, 4, 0, 1, 2, 3, 9, 5],
        "item_id": [0, 1, 2, 0, 1, 2, 0, 2, 1, 3, 3, 0, 1, 9, 0, 1],
        "timestamp": [1_000_000_000 + 40_000 * i for i in range(16)],
        "price": [1.0, 2.5, None, 4, 5, 6, 7, 8, 1, 2, 3, 4, None, 6, 7, 99],
        "city": ["Rome", "Oslo", None, "Bonn", "Oslo", "Rome", "Bonn", "Rome", *["Paris"] * 8],
        "tags": ["a|b", "b", None, "a", "c|a", "b|c", "", "a", *["a|z"] * 8],
    }
)
OPTIONS: dict[str, Any] = {
    "bins": {"from": "user.age", "quantiles": 3},
    "category": {"from": "city"},
    "count": "item",
    "cross": ["city", "user.age"],
    "date_part": {"from": "timestamp", "part": "weekday"},
    "hash": {"from": "city", "buckets": 5},
    "history": "user",
    "hour_bins": {"from": "timestamp", "edges": [6, 18], "timezone": "Europe/Paris"},
    "mapping": {"from": "city", "values": {"Rome": "south", "Oslo": "north"}},
    "number": {"from": "price"},
    "prefix": {"from": "city", "length": 2},
    "recency": {"of": "user", "at": "timestamp"},
    "regex": {"from": "city", "pattern": "(o.)"},
    "set": {"from": "tags"},
    "split": {"from": "tags", "separator": "|"},
    "diversity": "genres",
    "miscalibration": "genres",
    "sum": {"mse": 0.8, "mae": 0.2},
    "collab_nn": {"n_hidden": 8},
    "dot_product": {"factors": 4},
    "dot_product_bias": {"factors": 4},
    "embedding_nn": {"layers": [8], "widths": 4},
    "tabular": {"layers": [8], "widths": 4},
    "edlae": {"l2": 10, "dropout": 0.2},
    "item_knn": {"k": 4, "shrink": 1},
    "ials": {"factors": 4},
    "calibrated": {"of": "kind"},
    "group_caps": {"of": "kind", "share": 0.4},
    "mmr": {"of": "kind"},
    "xquad": 0.9,
}


def definitions(registry: Registry) -> list[tuple[str, Definition]]:
    found = []
    for kind, registered in registry:
        if kind in SUITES:
            name = registered.definition.name
            options = OPTIONS.get(name, {})
            component = Component.model_validate({name: options} if options else name)
            found.append((kind, registry.resolve(kind, component).definition))
    return found


def checks() -> list[Any]:
    return [
        pytest.param(kind, definition, check, id=f"{kind}-{definition.name}-{check[5:]}")
        for kind, definition in definitions(REGISTRY)
        for check in dir(SUITES[kind])
        if check.startswith("test_")
    ]


@pytest.mark.parametrize(("kind", "definition", "check"), checks())
def test_conformance(kind: str, definition: Any, check: str) -> None:
    values: dict[str, Any] = {"definition": definition, "options": OPTIONS.get(definition.name, {})}
    if kind == "column":
        values |= {"frame": EVENTS, "entities": ENTITIES}
    if definition.name in ("collab_nn", "ials"):
        values["takes_columns"] = False
    if definition.name in ("ease", "edlae", "item_knn", "popular"):
        values["only_ranks"] = True
    if definition.name == "mean":
        values["learns"] = False
    suite = type(f"Test{definition.name}", (SUITES[kind],), values)
    getattr(suite(), check)()


def test_every_kind_of_column_has_fitting_input() -> None:
    assert set(REGISTRY.names("column")) <= set(OPTIONS)
