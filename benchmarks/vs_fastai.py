"""The book's recipe on MovieLens-100K, fold u1: fastai beside tabcf in one run.

    pip install fastai          # in an environment of its own: it brings its own torch
    python benchmarks/vs_fastai.py

Both train on the fold's 80,000 training ratings with ids alone: 5 epochs, batches of 64, one-cycle
to 5e-3, weight decay 0.1 on all weights, outputs in [0.5, 5.5], one thread, seed 42. Nothing is
selected but the recipes for large batches (see `LARGE_BATCH`). fastai is shown as shipped, where an
epoch samples rows with replacement, and with a true shuffle. `cpu-s` is CPU time of the fit alone;
`ratings/cpu-s` is ratings × epochs over it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

import tabcf
from tabcf.data import datasets

EPOCHS, BATCH, RATE, DECAY, SEED = 5, 64, 5e-3, 0.1, 42
N_TEST = 20_000
# Recipes for large batches, the best of six by RMSE on a tenth of the training rows.
LARGE_BATCH: dict[str, dict[str, Any]] = {
    "DotProductBias": {
        "batch_size": 512,
        "learning_rate": 4e-2,
        "weight_decay": 0.3,
        "epochs": 8,
    },
    "EmbeddingNN": {"batch_size": 512, "learning_rate": 4e-2},
}
MODELS = {
    "DotProductBias": {"dot_product_bias": {"factors": 50, "y_range": [0.5, 5.5]}},
    "EmbeddingNN": {"embedding_nn": {"layers": [100, 50], "y_range": [0.5, 5.5]}},
}


def with_fastai(name: str, frame: pd.DataFrame, *, is_true_shuffle: bool) -> tuple[float, float]:
    """Test RMSE and CPU seconds of fastai's fit."""
    from fastai.collab import TabularCollab, collab_learner
    from fastai.data.block import TransformBlock
    from fastai.tabular.core import Categorify
    from fastai.torch_core import set_seed

    set_seed(SEED)
    rows = list(range(len(frame)))
    data = TabularCollab(
        frame,
        [Categorify],
        cat_names=["user_id", "item_id"],
        y_names=["rating"],
        y_block=TransformBlock(),
        splits=(rows[N_TEST:], rows[:N_TEST]),
        reduce_memory=False,
    )
    loaders = data.dataloaders(bs=BATCH, val_bs=4096, path=".", device="cpu")
    if is_true_shuffle:
        rng = np.random.default_rng(SEED)
        n_train = len(frame) - N_TEST
        loaders.train.get_idxs = lambda: rng.permutation(n_train).tolist()
    kind: dict[str, Any] = {"n_factors": 50}
    if name == "EmbeddingNN":
        kind = {"use_nn": True, "layers": [100, 50]}
    learner = collab_learner(loaders, y_range=(0.5, 5.5), **kind)
    started = time.process_time()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(EPOCHS, RATE, wd=DECAY)
    seconds = time.process_time() - started
    predicted, truth = learner.get_preds(dl=loaders.valid)
    return float((predicted.squeeze() - truth.squeeze()).square().mean().sqrt()), seconds


def with_tabcf(name: str, frame: pd.DataFrame, **train: Any) -> tuple[float, float]:
    """Test RMSE and CPU seconds of tabcf's fit, encoding included."""
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": MODELS[name],
        "split": {"official": "u1"},
        "train": {
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "learning_rate": RATE,
            "weight_decay": DECAY,
            "decay_biases": True,
            **train,
        },
        "seed": SEED,
    }
    report = tabcf.fit(spec, frame).report
    return report.test["rmse"], report.cpu_seconds


def main() -> None:
    try:
        import fastai
    except ImportError:
        sys.exit("fastai is not installed; pip install fastai, in an environment of its own")
    torch.set_num_threads(1)
    frame = pd.read_csv(datasets.fetch("movielens-100k") / "ratings.csv")
    print(f"fastai {fastai.__version__}, tabcf {tabcf.__version__}, torch {torch.__version__}")
    n_train = len(frame) - N_TEST
    for name in MODELS:
        rows = {
            "fastai as shipped": with_fastai(name, frame, is_true_shuffle=False),
            "fastai, true shuffle": with_fastai(name, frame, is_true_shuffle=True),
            "tabcf": with_tabcf(name, frame),
            "tabcf, batch 512": with_tabcf(name, frame, **LARGE_BATCH[name]),
        }
        base = rows["fastai, true shuffle"][1]
        print(f"\n{name:<22}{'u1 RMSE':>10}{'cpu-s':>9}{'ratings/cpu-s':>16}{'× fastai':>10}")
        for label, (rmse, seconds) in rows.items():
            epochs = LARGE_BATCH[name].get("epochs", EPOCHS) if "512" in label else EPOCHS
            speed, ratio = epochs * n_train / seconds, base / seconds
            print(f"{label:<22}{rmse:>10.4f}{seconds:>9.1f}{speed:>16,.0f}{ratio:>10.1f}")


if __name__ == "__main__":
    main()
