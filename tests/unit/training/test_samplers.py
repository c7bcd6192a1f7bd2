from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

import tabcf
from tabcf.contracts.inputs import Sampled
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses import BPR, SampledSoftmax
from tabcf.testing import tiny_ratings
from tabcf.training import samplers
from tabcf.training.samplers import (
    Catalogue,
    Chosen,
    HardSampler,
    InBatch,
    PopularitySampler,
    UniformSampler,
)

CATALOGUE = Catalogue(torch.arange(1, 11), torch.tensor([50, 20, 10, 5, 5, 4, 3, 2, 1, 1]))
NOBODY = Chosen.of_pairs(torch.zeros(0), torch.zeros(0), n_users=3, n_items=10)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@given(
    pairs=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=35),
    is_large=st.booleans(),
)
def test_what_is_chosen_is_known_in_both_ways(pairs: set[tuple[int, int]], is_large: bool) -> None:
    users, columns = (torch.tensor([p[i] for p in sorted(pairs)], dtype=torch.long) for i in (0, 1))
    patch = pytest.MonkeyPatch()
    if is_large:
        patch.setattr(samplers, "_MOST_CELLS", 0)
    chosen = Chosen.of_pairs(users, columns, n_users=5, n_items=7)
    patch.undo()
    held = chosen.holds(torch.arange(5)[:, None], torch.arange(7)[None])
    assert {(int(u), int(i)) for u, i in held.nonzero()} == pairs


@pytest.mark.parametrize(
    "sampler",
    [
        UniformSampler(CATALOGUE, n=4),
        PopularitySampler(CATALOGUE, n=4, power=0.75),
        HardSampler(CATALOGUE, n=2, pool=2),
        UniformSampler(CATALOGUE, n=4, is_shared=True),
        InBatch(CATALOGUE),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_positive_of_training_is_never_drawn_as_a_valid_negative(sampler: Any) -> None:
    users = torch.arange(3).repeat(40)
    own = torch.randint(10, (120,), generator=rng(1))
    chosen = Chosen.of_pairs(
        torch.tensor([0] * 9 + [1, 1]),
        torch.tensor([*range(9), 4, 5]),
        n_users=3,
        n_items=10,
    )
    drawn = sampler.draw(users, own, chosen, rng())
    is_chosen = chosen.holds(users[:, None], drawn.columns)
    assert torch.equal(drawn.is_valid, ~is_chosen)
    if not sampler.is_shared:
        assert is_chosen.float().mean() < 0.4, "redraws find an item for nearly everyone"


def test_one_seed_draws_the_same_and_another_one_does_not() -> None:
    users, own = torch.zeros(50, dtype=torch.long), torch.zeros(50, dtype=torch.long)
    sampler = UniformSampler(CATALOGUE, n=5)
    one, two, three = (sampler.draw(users, own, NOBODY, rng(s)).columns for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_items_are_drawn_as_often_as_stated(power: float) -> None:
    users = torch.zeros(20_000, dtype=torch.long)
    sampler = PopularitySampler(CATALOGUE, n=1, power=power)
    drawn = sampler.draw(users, users, NOBODY, rng())
    share = torch.bincount(drawn.columns.flatten(), minlength=10) / 20_000
    expected = CATALOGUE.counts.double() ** power
    expected /= expected.sum()
    assert torch.allclose(share.double(), expected, atol=0.012)
    if power:
        assert drawn.log_q is not None
        own = drawn.log_q[:, 0]
        assert torch.allclose(own.double().exp(), expected[0].expand(20_000), atol=1e-6)


@given(
    counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=60).filter(any),
    power=st.sampled_from([0.25, 0.75, 1.0, 3.0]),
)
def test_many_items_are_drawn_at_once_as_few_are(counts: list[int], power: float) -> None:
    catalogue = Catalogue(torch.arange(1, len(counts) + 1), torch.tensor(counts))
    sampler = PopularitySampler(catalogue, n=1, power=power)
    users, own = torch.zeros(3000, dtype=torch.long), torch.zeros(3000, dtype=torch.long)
    nobody = Chosen.of_pairs(torch.zeros(0), torch.zeros(0), n_users=1, n_items=len(counts))
    patch = pytest.MonkeyPatch()
    found = []
    for least in (0, 10**9):
        patch.setattr(samplers, "_MANY", least)
        found.append(sampler.draw(users, own, nobody, rng()).columns)
    patch.undo()
    assert torch.equal(*found)


def test_a_corrected_sampled_softmax_is_the_full_one_in_expectation() -> None:
    """However items are drawn, the gradient points where that of the whole softmax does."""
    logits = torch.randn(10, generator=rng(3)).requires_grad_()
    full = torch.logsumexp(logits, 0) - logits[2]
    (expected,) = torch.autograd.grad(full, logits)
    sampler = PopularitySampler(CATALOGUE, n=400, power=1.0)
    users = torch.zeros(300, dtype=torch.long)
    own = torch.full((300,), 2)
    drawn = sampler.draw(users, own, NOBODY, rng())
    raw = logits[torch.cat([own[:, None], drawn.columns], 1)]
    loss = SampledSoftmax(TargetInfo("implicit"))
    # Every drawn item counts once for each time that it is expected among 400.
    log_q = drawn.log_q.clone()
    log_q[:, 1:] += np.log(400)
    log_q[:, 0] = 0.0
    value = loss(raw, Sampled(drawn.is_valid & (drawn.columns != 2), log_q))
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.allclose(gradient, expected, atol=0.02)


def test_an_item_that_does_not_count_has_no_gradient() -> None:
    raw = torch.zeros(1, 3, requires_grad=True)
    BPR(TargetInfo("implicit"))(raw, Sampled(torch.tensor([[True, False]]))).backward()
    assert raw.grad is not None
    assert raw.grad[0, 2] == 0
    assert raw.grad[0, 1] > 0


LEARNERS = {
    "bpr": {"loss": "bpr"},
    "sampled_bce": {"loss": "sampled_bce", "negatives": {"popularity": {"n": 4, "power": 0.5}}},
    "sampled_softmax": {"loss": "sampled_softmax", "negatives": {"uniform": {"n": 20}}},
    "shared": {"loss": "sampled_softmax", "negatives": {"uniform": {"n": 20, "shared": True}}},
    "in_batch": {"loss": "sampled_softmax", "negatives": "in_batch"},
    "hard": {"loss": "bpr", "negatives": {"hard": {"n": 2, "pool": 4}}},
    "implicit_mse": {"loss": {"implicit_mse": {"unobserved_weight": 0.3}}},
}


def spec(model: Any, **changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": model,
        "split": {"random": {"valid": 0, "test": 0.2}},
        "metrics": [{"ndcg": 5}],
        "train": {"epochs": 40, "batch_size": 64, "learning_rate": 0.03, "weight_decay": 0.0},
        **changes,
    }


@pytest.mark.parametrize("name", LEARNERS)
def test_every_ranking_loss_finds_the_checkerboard(name: str) -> None:
    run = tabcf.fit(
        spec({"dot_product": {"factors": 8}}, **LEARNERS[name]),
        tiny_ratings(n_users=40, n_items=60),
    )
    assert run.report.test["ndcg@5"] > 0.6 > run.report.baselines["most popular"]["ndcg@5"]


@pytest.mark.parametrize("model", [{"embedding_nn": {"layers": [16]}}, {"collab_nn": {}}])
def test_networks_learn_from_sampled_items_too(model: Any) -> None:
    run = tabcf.fit(spec(model, loss="bpr"), tiny_ratings(n_users=40, n_items=60))
    assert run.report.test["ndcg@5"] > 0.6


def test_held_out_rows_have_no_say_in_what_is_drawn() -> None:
    """Leaving the test rows' items out of the draws would tell the model which they are."""
    frame = tiny_ratings()
    frame["part"] = np.where(np.arange(len(frame)) % 5 == 0, "test", "train")
    changed = frame.copy()
    is_test = changed["part"] == "test"
    changed.loc[is_test, "rating"] = 6 - changed.loc[is_test, "rating"]
    weights = []
    for data in (frame, changed):
        run = tabcf.fit(
            spec(
                {"dot_product": {"factors": 4}},
                loss="bpr",
                split={"labels": "part"},
                train={"epochs": 2, "batch_size": 32},
            ),
            data,
        )
        weights.append(run.trained.model.factors.detach())
    assert torch.equal(*weights)


def test_a_blend_predicts_ratings_and_ranks() -> None:
    blended = spec(
        {"dot_product_bias": {"factors": 8}},
        target={"column": "rating", "levels": [1, 5]},
        loss={"sum": {"mse": 1.0, "bpr": 0.1}},
        metrics=["rmse"],
    )
    run = tabcf.fit(blended, tiny_ratings())
    assert run.report.test["rmse"] < 1.2
    assert set(run.recommend(2, k=4, exclude_seen=False)["item_id"] % 2) == {0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "softmax", "negatives": "uniform"}, "negatives: softmax draws none; losses of"),
        ({"model": {"ease": 1}, "negatives": "uniform"}, "negatives: is solved in closed form"),
        ({"loss": "bpr", "target": "rating"}, "bpr learns implicit targets|loss: bpr"),
        (
            {"loss": "bpr", "columns": {"x": {"cross": ["item", "timestamp"]}}},
            "`x` is made from the item's columns among others, and bpr compares",
        ),
        (
            {"loss": {"sum": {"softmax": 1, "bpr": 1}}},
            "take no target in common|of the forms",
        ),
        (
            {"loss": "implicit_mse", "model": {"embedding_nn": {}}},
            "needs a model whose scores are products",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(
    changes: dict[str, Any], message: str
) -> None:
    model = changes.pop("model", {"dot_product": {"factors": 4}})
    with pytest.raises((SpecError, tabcf.TabcfError), match=message):
        tabcf.fit(spec(model, **{"train": {"epochs": 1}, **changes}), tiny_ratings())


def test_a_users_history_is_without_the_event_that_is_scored() -> None:
    ratings = pd.DataFrame(
        {"user_id": [0, 0, 1, 1, 2], "item_id": [0, 1, 1, 2, 0], "rating": 5, "timestamp": 1}
    )
    run = tabcf.fit(
        spec(
            {"dot_product": {"factors": 4}},
            loss="bpr",
            columns={"had": {"history": "user"}, "by": {"history": "item"}},
            split={"random": {"valid": 0, "test": 0}},
            train={"epochs": 1, "batch_size": 2},
        ),
        ratings,
    )
    assert [column.side for column in run.trained.encoder.layout.sets] == ["user", "item"]
