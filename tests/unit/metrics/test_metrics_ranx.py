"""Each user's value is that of ranx, to 1e-9."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tabcf import metrics


@pytest.fixture(scope="module")
def ranx(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imported for these tests alone: it takes seconds, and makes folders for data sets."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("IR_DATASETS_HOME", str(tmp_path_factory.mktemp("ir_datasets")))
        import ranx
    return ranx


@pytest.mark.filterwarnings("ignore")  # of numba, as it compiles
@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("name", ["ndcg", "recall", "precision", "hit_rate", "mrr", "map"])
def test_a_metric_of_hits_matches_ranx(ranx: Any, name: str, k: int) -> None:
    rng = np.random.default_rng(0)
    n_users, n_items = 40, 30
    ranked = rng.random((n_users, n_items)).argsort(1)[:, :10]
    is_relevant = rng.random((n_users, n_items)).argsort(1) < rng.integers(1, 9, (n_users, 1))
    qrels = {
        f"u{u:02}": {f"i{i}": 1 for i in np.flatnonzero(row)} for u, row in enumerate(is_relevant)
    }
    run = {
        f"u{u:02}": {f"i{i}": float(10 - place) for place, i in enumerate(row)}
        for u, row in enumerate(ranked)
    }
    expected = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), f"{name}@{k}", return_mean=False)
    hits = torch.from_numpy(np.take_along_axis(is_relevant, ranked, axis=1)[:, :k])
    n_relevant = torch.from_numpy(is_relevant.sum(1))
    found = getattr(metrics, f"{name}_at_k")(hits, n_relevant)
    if name == "map":  # ranx divides by all relevant items, also those that k places cannot hold
        found = found * n_relevant.clamp(max=k) / n_relevant
    assert found.numpy() == pytest.approx(expected, rel=0, abs=1e-9)
