"""What growing is worth on MovieLens-100K: stale, extended, updated and fitted anew.

    python benchmarks/grow.py            # the figures: first 80 %, next 10 %, last 10 %
    python benchmarks/grow.py --choose   # what the defaults were chosen by: 60 %, 70 %, 80 %

Split: all events by timestamp, ties in the file's order; the first 80 % are what a run is fitted
on, the next 10 % are what it grows by, and the last 10 % are scored: RMSE of ratings, NDCG@10 of
lists over all items but those that the user had before, every event being a positive. Seed 0 of the
spec, one run each. CPU seconds are of the step alone, one thread: the first fit, the extension, the
update, or the fit on 90 %.

What an update takes by default was chosen with `--choose`, which scores the 70 % to 80 % part and
never sees what the figures are of.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

import tabcf
from tabcf.data.sources import read_source

BASE: dict[str, Any] = {
    "tabcf": 1,
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"random": {"valid": 0, "test": 0}},
    "seed": 0,
}
RATINGS: dict[str, Any] = {
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "metrics": ["rmse"],
}
LISTS: dict[str, Any] = {"target": {"implicit": {}}, "metrics": [{"ndcg": 10}]}
SPECS: dict[str, dict[str, Any]] = {
    "dot_product_bias, mse": {
        **RATINGS,
        "model": {"dot_product_bias": {"factors": 50, "y_range": [0, 5.5]}},
        "train": {
            "epochs": 5,
            "batch_size": 64,
            "learning_rate": 5e-3,
            "weight_decay": 0.1,
        },
    },
    "dot_product_bias, als": {
        **RATINGS,
        "model": {"dot_product_bias": {"factors": 16}},
        "fit": "als",
    },
    "dot_product, softmax": {
        **LISTS,
        "model": {"dot_product": {"factors": 128, "dropout": 0.5}},
        "loss": "softmax",
        "train": {"epochs": 45, "batch_size": 128, "learning_rate": 2e-2, "weight_decay": 1.0},
    },
    "dot_product, bpr": {
        **LISTS,
        "model": {"dot_product": {"factors": 64}},
        "loss": "bpr",
        "negatives": {"uniform": 4},
        "train": {"epochs": 20, "batch_size": 1024, "learning_rate": 2e-2, "weight_decay": 0.4},
    },
    "ease": {**LISTS, "model": {"ease": 300}},
    "ials": {**LISTS, "model": "ials"},
}
# What `--choose` tries: shares of the epochs and of earlier events.
_EPOCHS, _REPLAYS = (0.1, 0.2, 0.4), (0.0, 0.2, 0.5, 1.0)


def parts(*bounds: float) -> list[pd.DataFrame]:
    """Events up to each of some shares, in the order of time."""
    events = read_source("builtin:movielens-100k/ratings").frame
    events = events.sort_values("timestamp", kind="stable").reset_index(drop=True)
    cuts = [0, *(round(share * len(events)) for share in bounds)]
    return [
        events.iloc[start:stop].reset_index(drop=True) for start, stop in itertools.pairwise(cuts)
    ]


def score(run: tabcf.Run, events: pd.DataFrame) -> float:
    (value,) = run.evaluate(events).values()
    return value


def timed(step: Any) -> tuple[Any, float]:
    started = time.process_time()
    return step(), time.process_time() - started


def figures(name: str) -> list[dict[str, Any]]:
    """The four ways, scored on the last tenth."""
    first, new, last = parts(0.8, 0.9, 1.0)
    spec = {**BASE, **SPECS[name]}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        run, seconds = timed(lambda: tabcf.fit(spec, first, path, plugins=["no:*"]))
        rows.append({"way": "stale", "score": score(run, last), "cpu": seconds})
        try:
            _, seconds = timed(lambda: run.extend(new))
            rows.append({"way": "extended", "score": score(run, last), "cpu": seconds})
            run = tabcf.load(path, version=1, plugins=["no:*"])
            run.rollback(1)
        except tabcf.RunError:
            rows.append({"way": "extended", "score": float("nan"), "cpu": float("nan")})
        growth, seconds = timed(lambda: run.update(new))
        rows.append({"way": "updated", "score": score(run, last), "cpu": seconds})
        print(growth, flush=True)
        both = pd.concat([first, new], ignore_index=True)
        run, seconds = timed(lambda: tabcf.fit(spec, both, plugins=["no:*"]))
        rows.append({"way": "fitted anew", "score": score(run, last), "cpu": seconds})
    return [{"model": name, **row} for row in rows]


def choices(name: str) -> list[dict[str, Any]]:
    """Shares of epochs and of replay, scored on an earlier tenth."""
    first, new, later = parts(0.6, 0.7, 0.8)
    spec = {**BASE, **SPECS[name]}
    run = tabcf.fit(spec, first, plugins=["no:*"])
    rows = [{"epochs": 0.0, "replay": 0.0, "score": score(run, later), "cpu": 0.0}]
    with tempfile.TemporaryDirectory() as folder:
        path = run.save(Path(folder) / "run")
        for epochs in _EPOCHS:
            for replay in _REPLAYS:
                own = tabcf.load(path, version=1, plugins=["no:*"])
                own.folder = None
                n = max(round(epochs * spec["train"]["epochs"]), 1)
                _, seconds = timed(lambda: own.update(new, epochs=n, replay=replay))  # noqa: B023
                row = {"epochs": epochs, "replay": replay}
                rows.append({**row, "score": score(own, later), "cpu": seconds})
    return [{"model": name, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--only", action="append", choices=[*SPECS])
    given = parser.parse_args()
    names = given.only or [n for n in SPECS if not given.choose or "train" in SPECS[n]]
    rows = []
    for name in names:
        rows += choices(name) if given.choose else figures(name)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
