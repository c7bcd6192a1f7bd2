"""BPR beside cornac's compiled loop: epochs per CPU-second on MovieLens-100K u1, equal factors.

    pip install cornac
    python benchmarks/vs_cornac_bpr.py

Both see u1's 80,000 training interactions, 64 factors, one thread; an epoch is one pass with one
sampled item for each event. Loading and the first epoch are left out: the time of 11 epochs less
that of one, over ten.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import tabcf
from tabcf.data.sources import read_source


def ours(epochs: int) -> float:
    """CPU seconds of a fit, without validation and test."""
    spec = {
        "tabcf": 1,
        "data": "builtin:movielens-100k/ratings",
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 64}},
        "loss": "bpr",
        "negatives": {"uniform": 1},
        "metrics": [],
        "split": {"official": {"fold": "u1"}},
        "train": {"epochs": epochs, "batch_size": 1024, "learning_rate": 2e-2},
    }
    started = time.process_time()
    tabcf.fit(spec, plugins=["no:*"])
    return time.process_time() - started


def theirs(epochs: int) -> float:
    """The same for cornac."""
    from cornac.data import Dataset
    from cornac.models import BPR

    frame = read_source("builtin:movielens-100k/ratings").frame.iloc[20_000:]
    rows = list(frame[["user_id", "item_id", "rating"]].itertuples(index=False, name=None))
    data = Dataset.build(rows)
    model = BPR(k=64, max_iter=epochs, learning_rate=0.01, lambda_reg=0.01, num_threads=1, seed=0)
    started = time.process_time()
    model.fit(data)
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    for name, fit in (("tabcf", ours), ("cornac", theirs)):
        fit(1)
        rounds = [(fit(11) - fit(1)) / 10 for _ in range(3)]
        print(f"{name:7s} {1 / np.median(rounds):6.1f} epochs per CPU-second")


if __name__ == "__main__":
    main()
