"""Fits killed at random moments and resumed: do they end with the same weights, bit for bit?

Each round fits MovieLens-100K (the first 20,000 ratings, split at random, seed 42) in a process of
its own that is killed with SIGKILL after a random time, resumes it in another one that may be
killed too, and so on until one ends. Its weights are compared with those of a fit that nobody
killed. The kinds of fit take turns: compiled and handwritten steps, an MLP with dropout that is
fitted again on validation rows, sampled negatives, two stages.

    python benchmarks/kill_resume.py --kills 100
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from tabcf.data.datasets import fetch

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
TRAIN = {"epochs": 6, "checkpoint": {"steps": 40}}
BASE = {
    "tabcf": 1,
    "entities": ENTITIES,
    "target": "rating",
    "split": {"random": {"test": 0.1, "valid": 0.1}},
}
KINDS = {
    "compiled": {
        "model": {"dot_product_bias": {"factors": 50}},
        "train": {**TRAIN, "batch_size": 64, "engine": "fused", "epochs": 40},
    },
    "autograd": {
        "model": {"dot_product_bias": {"factors": 20}},
        "train": {**TRAIN, "batch_size": 128, "engine": "eager"},
    },
    "mlp, refitted": {
        "model": {"embedding_nn": {"dropout": 0.2}},
        "train": {**TRAIN, "batch_size": 128, "refit": True, "early_stopping": 2},
    },
    "sampled": {
        "target": {"implicit": "rating >= 4"},
        "loss": "bpr",
        "model": {"dot_product_bias": {"factors": 20}},
        "train": {**TRAIN, "batch_size": 128, "engine": "eager"},
    },
}


def main() -> None:
    """Kill, resume, compare; print a line a kind."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ratings = pd.read_csv(fetch("movielens-100k") / "ratings.csv").head(20_000)
        ratings.to_parquet(folder / "ratings.parquet", index=False)
        expected, times, kills, fits, same = {}, {}, {}, {}, {}
        for number, (kind, own) in enumerate(KINDS.items()):
            spec = {"data": str(folder / "ratings.parquet"), **BASE, **own}
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(spec))
            started = time.perf_counter()
            if fit(folder, number, "whole").wait():
                sys.exit(f"{kind}: the fit failed")
            times[kind] = time.perf_counter() - started
            expected[kind] = digest(folder / f"whole-{number}")
            kills[kind] = fits[kind] = same[kind] = 0
        while sum(kills.values()) < arguments.kills:
            kind = min(KINDS, key=lambda name: kills[name])
            number = list(KINDS).index(kind)
            name, resume = f"round-{fits[kind]}", False
            while True:
                process = fit(folder, number, name, resume=resume)
                try:
                    code = process.wait(timeout=rng.uniform(0.2, 1.0) * times[kind])
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills[kind] += 1
                    if (folder / f"{name}-{number}").exists():
                        break
                    resume = (folder / f".{name}-{number}.partial").exists()
                    continue
                if code:
                    sys.exit(f"{kind}: the fit ended with exit code {code}")
                break
            fits[kind] += 1
            same[kind] += digest(folder / f"{name}-{number}") == expected[kind]
        for kind in KINDS:
            print(f"{kind:15} {kills[kind]:4} kills, {fits[kind]:3} fits, {same[kind]:3} identical")


def fit(folder: Path, number: int, name: str, *, resume: bool = False) -> subprocess.Popen[bytes]:
    """A fit in a process of its own."""
    command = [sys.executable, "-m", "tabcf", "fit", str(folder / f"{number}.yaml"), "--quiet"]
    command += ["--out", str(folder / f"{name}-{number}"), *(["--resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def digest(run: Path) -> str:
    """SHA-256 of a run's weights."""
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
