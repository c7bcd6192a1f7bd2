"""What unknown ids stand on: the mean, or a row that is trained by hiding ids from the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.inputs import Inputs
from tabcf.data.parts import TRAIN
from tabcf.run.build import build_loss, build_objective, model_builder
from tabcf.run.prepare import encode_split, load_events
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_loss
from tabcf.run.unknown import UnknownPolicy, unknown_policy
from tabcf.spec.read import read_spec

N_USERS, N_ITEMS = 40, 30
TRAINING = {"epochs": 30, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0}
FORMS: dict[str, dict[str, Any]] = {
    "mse": {"target": {"column": "rating"}, "loss": "mse"},
    "bpr": {"loss": "bpr", "negatives": {"uniform": 2}},
    "in batch": {"loss": "sampled_softmax", "negatives": "in_batch"},
    "softmax": {"loss": "softmax"},
    "implicit_mse": {"loss": "implicit_mse"},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Users like the items of their own kind; nothing else tells one item from another."""
    folder = tmp_path_factory.mktemp("board")
    for name, n in (("user", N_USERS), ("item", N_ITEMS)):
        ids = np.arange(n)
        kinds = np.where(ids % 2, "odd", "even")
        path = folder / f"{name}s.csv"
        pd.DataFrame({f"{name}_id": ids, "kind": kinds}).to_csv(path, index=False)
    return {
        name: {"id": f"{name}_id", "table": str(folder / f"{name}s.csv")}
        for name in ("user", "item")
    }


def _ratings() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(N_USERS * N_ITEMS)[:700], N_ITEMS)
    rating = np.where(users % 2 == items % 2, 5.0, 1.0)
    return pd.DataFrame({"user_id": users, "item_id": items, "rating": rating})


def _spec(tables: dict[str, Any], form: str, **changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": tables,
        "columns": {"user.kind": "category", "item.kind": "category"},
        "model": {"dot_product": {"factors": 4}},
        "split": {"cold": {"side": "item", "valid": 0, "test": 0.3}},
        "train": TRAINING,
        **FORMS[form],
        **changes,
    }


def _objective(spec: dict[str, Any]) -> tuple[Any, UnknownPolicy]:
    registry = compose_registry(())
    document = read_spec(spec, registry)
    registry = document.registry
    events = load_events(document.spec, registry, data=_ratings())
    loss = resolve_loss(document.spec, registry, events.target)
    encoded = encode_split(document.spec, registry, events, TRAIN)
    module = build_loss(loss, encoded.target)
    layout = encoded.encoder.layout
    build = model_builder(document.spec, registry, encoded.target, int(module.d_out))
    policy = unknown_policy(document.spec, registry, layout)
    objective = build_objective(
        document.spec,
        registry,
        loss.definition,
        encoded,
        build(layout),
        module,
        masking=policy.rates,
    )
    return objective, policy


def _sides(batch: Any) -> tuple[Inputs, Inputs]:
    """A batch's columns of users and of items; ids stand first."""
    if hasattr(batch, "inputs"):
        x_cat = batch.inputs.x_cat
        blank = torch.zeros(len(x_cat), 0)
        return Inputs(x_cat[:, :2], blank), Inputs(x_cat[:, 2:], blank)
    return batch.query.user, batch.items


@pytest.mark.parametrize("form", FORMS)
def test_ids_alone_are_hidden_in_every_form_of_loss(tables: dict[str, Any], form: str) -> None:
    spec = _spec(tables, form, unknown={"masked": {"rate": 0.2, "item": 0.5}})
    objective, policy = _objective(spec)
    assert policy.rates == (0.2, 0.0, 0.5, 0.0)
    assert policy.mean_columns == (1, 3)
    rng = torch.Generator().manual_seed(0)
    batches = [batch for _ in range(20) for batch in objective.epoch(rng)]
    users = torch.cat([_sides(batch)[0].x_cat for batch in batches])
    items = torch.cat([_sides(batch)[1].x_cat for batch in batches])
    assert (users[:, 0] == 0).float().mean() == pytest.approx(0.2, abs=0.03)
    assert (items[:, 0] == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert (users[:, 1] > 0).all()
    assert (items[:, 1] > 0).all()
    # Where an id is hidden, what the table says of it is still there.
    assert len(items[items[:, 0] == 0][:, 1].unique()) == 2


@pytest.mark.parametrize("form", ["mse", "bpr", "softmax"])
def test_hidden_ids_make_attributes_speak_for_new_items(tables: dict[str, Any], form: str) -> None:
    found = {}
    for unknown in ("mean", {"masked": {"rate": 0.0, "item": 0.5}}):
        run = tabcf.fit(_spec(tables, form, unknown=unknown), _ratings())
        known = set(run.trained.events.source.frame["item_id"])
        new = [item for item in range(N_ITEMS) if item not in known]
        lists = run.recommend(list(range(N_USERS)), candidates=new, k=len(new))
        assert set(lists["basis"]) == {"trained; cold item: attributes"}
        is_liked = lists["user_id"] % 2 == lists["item_id"] % 2
        n_liked = is_liked.groupby(lists["user_id"]).sum()
        is_first = lists["rank"] <= lists["user_id"].map(n_liked)
        found[str(unknown)] = is_liked[is_first].mean()
    (_, masked) = found.values()
    assert masked > 0.95


def test_without_information_the_order_is_bias_plus_mean_vector(tables: dict[str, Any]) -> None:
    """With `mean`, somebody unknown has the count-shrunken mean of users' vectors."""
    spec = _spec(tables, "bpr", unknown={"mean": {"strength": 5}}, columns={})
    spec |= {"model": {"dot_product_bias": {"factors": 4}}, "train": {**TRAINING, "epochs": 5}}
    spec["entities"] = {name: {"id": f"{name}_id"} for name in ("user", "item")}
    run = tabcf.fit(spec, _ratings())
    users, items = run.embeddings("user"), run.embeddings("item")
    weight = users["count"] / (users["count"] + 5)
    mean = users.drop(columns="count").mul(weight, axis=0).sum() / weight.sum()
    bias = run.biases("item")["bias"]
    score = items.drop(columns="count") @ mean + bias.reindex(items.index)
    lists = run.recommend(999, k=N_ITEMS)
    assert set(lists["basis"]) == {"cold: average"}
    assert lists["item_id"].tolist() == score.sort_values(ascending=False).index.tolist()
    assert lists["item_id"].tolist() != bias.sort_values(ascending=False).index.tolist()


def test_attributes_beside_hidden_ids_stand_at_their_mean(tables: dict[str, Any]) -> None:
    run = tabcf.fit(_spec(tables, "softmax", unknown={"masked": 0.1}), _ratings())
    layout, model = run.trained.encoder.layout, run.trained.model
    for position, column in enumerate(layout.categorical):
        vectors = model.column_vectors(position)
        hull = (vectors[0] >= vectors[1:].min(0).values) & (vectors[0] <= vectors[1:].max(0).values)
        if column.entity is None:
            assert hull.all()


def test_values_of_a_plain_table_are_hidden_in_all_columns(tmp_path: Path) -> None:
    from tabcf.contracts.layout import CategoricalColumn, Layout

    registry = compose_registry(())
    spec = {
        "tabcf": 1,
        "target": {"column": "y"},
        "model": "tabular",
        "unknown": {"masked": 0.25},
        "columns": {"a": "category", "b": "category"},
    }
    layout = Layout((CategoricalColumn("a", "event", 3), CategoricalColumn("b", "event", 3)))
    policy = unknown_policy(read_spec(spec, registry).spec, registry, layout)
    assert policy.rates == (0.25, 0.25)
    assert policy.mean_columns == ()


def test_attributes_make_masking_the_default_of_dot_products(tables: dict[str, Any]) -> None:
    assert _objective(_spec(tables, "softmax"))[1].rates == (0.02, 0.0, 0.02, 0.0)
    spec = _spec(tables, "softmax", columns={})
    spec["entities"] = {name: {"id": f"{name}_id"} for name in ("user", "item")}
    assert _objective(spec)[1].rates == ()
    assert _objective(spec)[1].mean_columns == (0, 1)
    one_side = _spec(tables, "softmax", unknown={"masked": {"rate": 0.1, "user": 0}})
    assert _objective(one_side)[1].mean_columns == (0, 1, 3)
