"""Each effective value is listed with the place where it was said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tabcf.plugin.registry import Registry
from tabcf.spec.explain import explain
from tabcf.spec.overrides import apply_overrides
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec
from tabcf.spec.wording import flow


@pytest.fixture
def rows(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> Callable[..., dict[str, tuple[Any, str]]]:
    """Explain the whole spec with some overrides: path to value and origin."""

    def explained(*overrides: str) -> dict[str, tuple[Any, str]]:
        document = read_spec(write_spec(movies), registry, overrides=overrides)
        found = explain(document, registry)
        assert len({row.path for row in found}) == len(found)
        return {row.path: (row.value, row.origin) for row in found}

    return explained


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [
        ("tabcf", 1, "movies.yaml:1"),
        ("target.column", "rating", "movies.yaml:3"),
        ("target.levels", [1.0, 2.0, 3.0, 4.0, 5.0], "movies.yaml:3"),
        ("target.implicit", None, "default"),
        ("entities.user.id", "user_id", "movies.yaml:6"),
        ("entities.user.label", None, "default"),
        ("entities.user.columns.gender", "category", "movies.yaml:8"),
        ("entities.user.columns.gender.category.from", None, "default"),
        ("entities.item.columns.genres.set.separator", "|", "movies.yaml:13"),
        ("columns.weekday", "date_part", "movies.yaml:15"),
        ("columns.weekday.date_part.from", "timestamp", "movies.yaml:15"),
        ("model", "embedding_nn", "movies.yaml:16"),
        ("model.embedding_nn.layers", [100, 50], "movies.yaml:16"),
        ("model.embedding_nn.widths.item", 102, "movies.yaml:16"),
        ("model.embedding_nn.dropout", 0.0, "default"),
        ("loss", "mse", "movies.yaml:17"),
        ("metrics", "[rmse, mae]", "default"),
        ("plugins", [], "default"),
        ("split.random.test", 0.1, "movies.yaml:18"),
        ("train.learning_rate", 0.02, "movies.yaml:19"),
        ("train.weight_decay.default", 0.1, "movies.yaml:19"),
        ("train.schedule", "one_cycle", "default"),
        ("train.early_stopping", None, "default"),
        ("seed", 42, "movies.yaml:20"),
    ],
)
def test_a_value_of_the_file(
    path: str, value: Any, origin: str, rows: Callable[..., dict[str, tuple[Any, str]]]
) -> None:
    assert rows()[path] == (value, origin)


def test_every_field_of_the_spec_is_there(
    rows: Callable[..., dict[str, tuple[Any, str]]],
) -> None:
    starts = {path.split(".")[0] for path in rows()}
    assert starts == set(Spec.model_fields)


def test_overrides(rows: Callable[..., dict[str, tuple[Any, str]]]) -> None:
    found = rows("train.epochs=3", "loss.huber.delta=2", "train.early_stopping=4")
    assert found["train.epochs"] == (3, "--set")
    assert found["train.batch_size"] == (512, "movies.yaml:19")
    assert found["loss"] == ("huber", "--set")
    assert found["loss.huber.delta"] == (2.0, "--set")
    assert found["train.early_stopping.patience"] == (4, "--set")
    assert found["train.early_stopping.min_delta"] == (0.0, "default")


def test_metrics_are_listed_one_by_one(rows: Callable[..., dict[str, tuple[Any, str]]]) -> None:
    found = rows("metrics=[rmse, {ndcg: 5}, recall]")
    assert found["metrics[0]"] == ("rmse", "--set")
    assert found["metrics[1].ndcg.k"] == (5, "--set")
    assert found["metrics[2].recall.k"] == (10, "default")


def test_a_spec_from_python(registry: Registry) -> None:
    given = {"tabcf": 1, "target": "price", "model": "tabular", "split": {"official": "u1"}}
    found = {row.path: row for row in explain(read_spec(given, registry), registry)}
    assert found["target.column"][1:] == ("price", "given")
    assert found["target.columns"][1:] == (None, "default")
    assert found["split.official.fold"][1:] == ("u1", "given")
    assert found["split.official.valid"][1:] == (0.0, "default")
    assert found["entities"][1:] == ({}, "default")


def test_every_path_can_be_set(
    registry: Registry, rows: Callable[..., dict[str, tuple[Any, str]]]
) -> None:
    """What `explain` calls a value is what `--set` calls it."""
    for path, (value, _) in rows().items():
        written = f'{path}="|"' if value == "|" else f"{path}={flow(value)}"
        _, applied, problems = apply_overrides({}, [written], registry)
        assert problems == []
        assert list(applied.values())[-1] == written
