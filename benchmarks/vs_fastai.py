"""The book's recipe on MovieLens-100K, fold u1: fastai beside tabcf in one run.

    pip install fastai          # in an environment of its own: it brings its own torch
    python benchmarks/vs_fastai.py  # or some parts: fits, equal, whole

Both train on the fold's 80,000 training ratings with ids alone: 5 epochs, batches of 64, one-cycle
to 5e-3, weight decay 0.1 on all weights, outputs in [0.5, 5.5], one thread, seed 42. Nothing is
selected but the recipes for large batches (see `LARGE_BATCH`). fastai is shown as shipped, where an
epoch samples rows with replacement, and with a true shuffle. `cpu-s` is CPU time of the fit alone;
`ratings/cpu-s` is ratings × epochs over it.

- fits: test RMSE and CPU time of both.
- equal: CPU time to the RMSE of fastai, with a true shuffle, on a tenth of the training rows, with
  three seeds, by which rows are drawn too.
- whole: CPU time of a process from its start to a saved model, by the same recipe, tests included.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

import tabcf
from tabcf.data import datasets
from tabcf.data.splits import official_split

EPOCHS, BATCH, RATE, DECAY, SEED = 5, 64, 5e-3, 0.1, 42
EQUAL_SEEDS = (42, 43, 44)
N_TEST = 20_000
# Recipes for batches of 512, best by RMSE on a tenth of the training rows with seed 42: of those
# of `step_speed.py`; and of rates 3e-3 to 2e-2, decays 0.03 to 4 and 3 to 8 epochs, 48 in all.
LARGE_BATCH: dict[str, dict[str, Any]] = {
    "DotProductBias": {
        "batch_size": 512,
        "learning_rate": 1e-2,
        "weight_decay": 0.8,
        "epochs": 6,
        "decay_biases": False,
    },
    "EmbeddingNN": {"batch_size": 512, "learning_rate": 5e-3, "weight_decay": 1.0, "epochs": 5},
}
MODELS = {
    "DotProductBias": {"dot_product_bias": {"factors": 50, "y_range": [0.5, 5.5]}},
    "EmbeddingNN": {"embedding_nn": {"layers": [100, 50], "y_range": [0.5, 5.5]}},
}


def with_fastai(
    name: str,
    frame: pd.DataFrame,
    part: np.ndarray,
    *,
    held: int,
    is_true_shuffle: bool,
    seed: int = SEED,
    save_to: Path | None = None,
) -> tuple[float, float]:
    """RMSE on the part `held` and CPU seconds of fastai's fit on the part 0."""
    from fastai.collab import TabularCollab, collab_learner
    from fastai.data.block import TransformBlock
    from fastai.tabular.core import Categorify
    from fastai.torch_core import set_seed

    set_seed(seed)
    train_rows, held_rows = (np.flatnonzero(part == number).tolist() for number in (0, held))
    data = TabularCollab(
        frame,
        [Categorify],
        cat_names=["user_id", "item_id"],
        y_names=["rating"],
        y_block=TransformBlock(),
        splits=(train_rows, held_rows),
        reduce_memory=False,
    )
    loaders = data.dataloaders(bs=BATCH, val_bs=4096, path=".", device="cpu")
    if is_true_shuffle:
        rng = np.random.default_rng(seed)
        loaders.train.get_idxs = lambda: rng.permutation(len(train_rows)).tolist()
    kind: dict[str, Any] = {"n_factors": 50}
    if name == "EmbeddingNN":
        kind = {"use_nn": True, "layers": [100, 50]}
    learner = collab_learner(loaders, y_range=(0.5, 5.5), **kind)
    started = time.process_time()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(EPOCHS, RATE, wd=DECAY)
    seconds = time.process_time() - started
    if save_to is not None:
        learner.export(save_to)
    predicted, truth = learner.get_preds(dl=loaders.valid)
    return float((predicted.squeeze() - truth.squeeze()).square().mean().sqrt()), seconds


def with_tabcf(
    name: str, frame: pd.DataFrame, *, valid: float = 0.0, seed: int = SEED, **train: Any
) -> tuple[float, float]:
    """RMSE on validation rows, or else on test rows, and CPU seconds, encoding included."""
    report = tabcf.fit(spec_of(name, valid=valid, **train) | {"seed": seed}, frame).report
    return (report.valid or report.test)["rmse"], report.cpu_seconds


def spec_of(name: str, *, valid: float = 0.0, **train: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": MODELS[name],
        "split": {"official": {"fold": "u1", "valid": valid}},
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


def to_equal_validation_rmse(name: str, frame: pd.DataFrame, seed: int) -> None:
    """The headline: CPU seconds to fastai's RMSE on a tenth of the training rows.

    tabcf's is the shortest of its fits over 1, 2, … epochs that gets there, by the same recipe and
    by its own for its default batch.
    """
    rng = np.random.default_rng(seed)
    part = official_split(frame, fold="u1", valid=0.1, rng=rng)
    goal, theirs = with_fastai(name, frame, part, held=1, is_true_shuffle=True, seed=seed)
    print(f"{name}, seed {seed}, validation RMSE {goal:.4f}: fastai {theirs:.1f} CPU-s")
    for label, recipe in (("same recipe", {}), ("batch 512", LARGE_BATCH[name])):
        for epochs in range(1, recipe.get("epochs", EPOCHS) + 1):
            wanted = {**recipe, "epochs": epochs}
            rmse, seconds = with_tabcf(name, frame, valid=0.1, seed=seed, **wanted)
            if rmse <= goal:
                print(
                    f"  tabcf, {label}: {seconds:.2f} CPU-s ({epochs} epochs, {rmse:.4f}), "
                    f"{theirs / seconds:.1f} times less"
                )
                break
        else:
            print(f"  tabcf, {label}: not reached, {rmse:.4f}")


def equal() -> None:
    frame = pd.read_csv(datasets.fetch("movielens-100k") / "ratings.csv")
    for name in MODELS:
        for seed in EQUAL_SEEDS:
            to_equal_validation_rmse(name, frame, seed)


def fastais_script(name: str) -> None:
    """A whole fit of fastai, to be run as a process of its own."""
    frame = pd.read_csv(datasets.fetch("movielens-100k") / "ratings.csv")
    part = official_split(frame, fold="u1", valid=0.0, rng=np.random.default_rng(SEED))
    with tempfile.TemporaryDirectory() as folder:
        save_to = Path(folder) / "model.pkl"
        with_fastai(name, frame, part, held=2, is_true_shuffle=True, save_to=save_to)


def whole() -> None:
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            spec = Path(folder) / "spec.yaml"
            events = {"data": "builtin:movielens-100k/ratings"}
            spec.write_text(json.dumps(spec_of(name) | events))  # JSON is YAML
            ours = _cpu_seconds("-m", "tabcf", "fit", str(spec), "--out", f"{folder}/run")
        theirs = _cpu_seconds(__file__, f"--script={name}")
        print(
            f"{name}, from the start of a process to a saved model: fastai {theirs:.1f} CPU-s, "
            f"tabcf {ours:.1f}: {theirs / ours:.1f} times less"
        )


def _cpu_seconds(*arguments: str) -> float:
    """User and system time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fits() -> None:
    frame = pd.read_csv(datasets.fetch("movielens-100k") / "ratings.csv")
    n_train = len(frame) - N_TEST
    part = official_split(frame, fold="u1", valid=0.0, rng=np.random.default_rng(SEED))
    for name in MODELS:
        rows = {
            "fastai as shipped": with_fastai(name, frame, part, held=2, is_true_shuffle=False),
            "fastai, true shuffle": with_fastai(name, frame, part, held=2, is_true_shuffle=True),
            "tabcf": with_tabcf(name, frame),
            "tabcf, batch 512": with_tabcf(name, frame, **LARGE_BATCH[name]),
        }
        base = rows["fastai, true shuffle"][1]
        print(f"\n{name:<22}{'u1 RMSE':>10}{'cpu-s':>9}{'ratings/cpu-s':>16}{'× fastai':>10}")
        for label, (rmse, seconds) in rows.items():
            epochs = LARGE_BATCH[name].get("epochs", EPOCHS) if "512" in label else EPOCHS
            speed, ratio = epochs * n_train / seconds, base / seconds
            print(f"{label:<22}{rmse:>10.4f}{seconds:>9.1f}{speed:>16,.0f}{ratio:>10.1f}")


PARTS = {"fits": fits, "equal": equal, "whole": whole}


def main() -> None:
    try:
        import fastai
    except ImportError:
        sys.exit("fastai is not installed; pip install fastai, in an environment of its own")
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("--script="):
        fastais_script(arguments[0].removeprefix("--script="))
        return
    print(f"fastai {fastai.__version__}, tabcf {tabcf.__version__}, torch {torch.__version__}")
    for part in arguments or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
