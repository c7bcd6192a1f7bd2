"""What a spec leaves out of its recipe follows from its model and how many events a step takes."""

from __future__ import annotations

from typing import Any

import pytest

from tabcf.plugin.registry import Registry
from tabcf.run.registry import compose_registry
from tabcf.spec.explain import explain
from tabcf.spec.read import read_spec


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The package's own components: the rule asks models and losses what they are."""
    return compose_registry(["no:*"])


RATED: dict[str, Any] = {
    "tabcf": 1,
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": "dot_product_bias",
}
CHOSEN = RATED | {"target": {"implicit": {}}, "model": "dot_product"}


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        (RATED, 5e-3),
        (RATED | {"train": {"batch_size": 64}}, 1.8e-3),
        (RATED | {"train": {"batch_size": 2048}, "model": "embedding_nn"}, 1e-2),
        (RATED | {"train": {"batch_size": 8192}, "loss": {"huber": 0.5}}, 2e-2),
        (RATED | {"train": {"batch_size": 8192, "learning_rate": 5e-3}}, 5e-3),
        (CHOSEN | {"train": {"batch_size": 2048}, "loss": "bpr"}, 1e-2),
        # A step of the whole catalogue takes users, and nothing is learnt where there is no step.
        (CHOSEN | {"train": {"batch_size": 2048}}, 5e-3),
        (CHOSEN | {"train": {"batch_size": 2048}, "model": "ease"}, 5e-3),
    ],
)
def test_it_follows_from_the_batch(spec: dict[str, Any], rate: float, registry: Registry) -> None:
    document = read_spec(spec, registry)
    assert document.spec.train.learning_rate == rate
    shown = {row.path: row for row in explain(document, registry)}["train.learning_rate"]
    is_given = "learning_rate" in spec.get("train", {})
    assert (shown.value, shown.origin) == (rate, "given" if is_given else "default")


def test_an_override_of_the_batch_takes_it_along(registry: Registry) -> None:
    train = read_spec(RATED, registry, overrides=["train.batch_size=2048"]).spec.train
    assert (train.learning_rate, train.epochs) == (1e-2, 5)


def test_epochs_follow_from_the_model(registry: Registry) -> None:
    network = RATED | {"model": "embedding_nn"}
    ranker = CHOSEN | {"model": "embedding_nn"}
    found = [
        read_spec(spec, registry).spec.train.epochs
        for spec in (RATED, network, network | {"train": {"epochs": 7}}, ranker)
    ]
    assert found == [5, 3, 7, 5]


def test_a_first_stage_has_its_own(registry: Registry) -> None:
    retrieve = {"model": "dot_product", "loss": "bpr", "target": {"implicit": {}}}
    spec = RATED | {"train": {"batch_size": 64}}
    for batch_size, rate in ((128, 2.5e-3), (2048, 1e-2)):
        stages = {"retrieve": retrieve | {"train": {"batch_size": batch_size}}}
        found = read_spec(spec | stages, registry).spec
        assert found.retrieve is not None
        assert found.retrieve.train.learning_rate == rate
        assert found.train.learning_rate == 1.8e-3
