"""Learning rate and epochs by batch size: the sweep that the rule of a spec without them rests on.

    pip install 'tabcf[fast]'
    python benchmarks/batch_recipe.py  # or some families: dot_product_bias, embedding_nn

MovieLens-100K u1, ids alone, outputs in [0.5, 5.5], tabcf's other defaults (weight decay 0.01,
one-cycle), one thread, seed 42. Each setting trains on nine tenths of the fold's training rows and
is measured by RMSE on the other tenth; test rows are not looked at. For each batch size the best
setting stands beside that of the rule, which is what a spec gets that leaves both out.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any, NamedTuple

import torch
from ranking import ratings

import tabcf

MODELS: dict[str, Any] = {
    "dot_product_bias": {"factors": 50, "y_range": [0.5, 5.5]},
    "embedding_nn": {"layers": [100, 50], "y_range": [0.5, 5.5]},
}
RATES: dict[int, tuple[float, ...]] = {
    64: (1.25e-3, 2.5e-3, 5e-3),
    512: (2.5e-3, 5e-3, 1e-2, 2e-2),
    2048: (5e-3, 1e-2, 2e-2, 4e-2),
    8192: (1e-2, 2e-2, 4e-2, 8e-2),
}
EPOCHS = {"dot_product_bias": (3, 5, 8, 12), "embedding_nn": (3, 5, 8)}
SEED = 42


class Found(NamedTuple):
    """A setting, its RMSE on validation rows, and CPU seconds of encoding and training."""

    rate: float
    epochs: int
    rmse: float
    seconds: float

    def __str__(self) -> str:
        setting = f"{self.rate:8.3g} x {self.epochs:<3d}"
        return f"{setting} RMSE {self.rmse:.4f} {self.seconds:7.2f} CPU-s"


def fitted(model: str, batch_size: int, **train: Any) -> Found:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {model: MODELS[model]},
        "split": {"official": {"fold": "u1", "valid": 0.1}},
        "train": {"batch_size": batch_size, **train},
        "seed": SEED,
    }
    run = tabcf.fit(spec, ratings(), plugins=["no:*"])
    own, report = run.spec.train, run.report
    return Found(own.learning_rate, own.epochs, report.valid["rmse"], report.cpu_seconds)


def main() -> None:
    torch.set_num_threads(1)
    for model in sys.argv[1:] or MODELS:
        for batch_size, rates in RATES.items():
            print(f"\n{model}, batches of {batch_size}", flush=True)
            all_found = []
            for rate, epochs in itertools.product(rates, EPOCHS[model]):
                found = fitted(model, batch_size, learning_rate=rate, epochs=epochs)
                print(f"  {found}", flush=True)
                all_found.append(found)
            print(f"  best  {min(all_found, key=lambda found: found.rmse)}")
            print(f"  rule  {fitted(model, batch_size)}", flush=True)


if __name__ == "__main__":
    main()
