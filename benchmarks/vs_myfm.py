"""Draws from the posterior of a factorisation machine, beside myFM on the same rows and columns.

Ids alone, rank 10, MovieLens-100K's official folds; predictions of both cut off at 1 and 5. Nothing
is chosen: both draw their penalties. Prints test RMSE, user-CPU seconds of the fit, and the paired
95 % interval of the difference in squared error a user (bootstrap over users).

    pip install myfm
    OMP_NUM_THREADS=1 python benchmarks/vs_myfm.py --folds u1 u2 --seeds 42 2> /dev/null
"""

from __future__ import annotations

import argparse
import time

import myfm
import numpy as np
import pandas as pd
import scipy.sparse as sps

import tabcf
from tabcf.data.sources import read_source
from tabcf.evaluation.compare import bootstrap_interval

DATA = "builtin:movielens-100k/ratings"


def one_hot(codes: np.ndarray, n: int) -> sps.csr_matrix:
    """`(N, n)`: a one where each row's code is; a code of -1 has none."""
    rows = np.flatnonzero(codes >= 0)
    ones = np.ones(len(rows))
    return sps.csr_matrix((ones, (rows, codes[rows])), shape=(len(codes), n))


def of_myfm(
    train: pd.DataFrame, test: pd.DataFrame, sweeps: int, seed: int
) -> tuple[np.ndarray, float]:
    """Predictions and CPU seconds of the peer."""
    parts = []
    for column in ("user_id", "item_id"):
        known = pd.Index(np.sort(train[column].unique()))
        parts.append([one_hot(known.get_indexer(f[column]), len(known)) for f in (train, test)])
    x_train, x_test = (sps.hstack([p[i] for p in parts], format="csr") for i in (0, 1))
    started = time.process_time()
    machine = myfm.MyFMGibbsRegressor(rank=10, random_seed=seed)
    machine.fit(
        x_train,
        train["rating"].to_numpy(dtype=float),
        n_iter=sweeps,
        n_kept_samples=sweeps - 64,
        group_shapes=[p[0].shape[1] for p in parts],
    )
    return np.clip(machine.predict(x_test), 1, 5), time.process_time() - started


def main() -> None:
    """Print one line a fold and seed, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", nargs="+", default=["u1"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--sweeps", type=int, default=512)
    arguments = parser.parse_args()
    events = read_source(DATA).frame
    for fold in arguments.folds:
        for seed in arguments.seeds:
            spec = {
                "tabcf": 1,
                "data": DATA,
                "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
                "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
                "model": {"dot_product_bias": {"factors": 10}},
                "fit": {"gibbs": {"sweeps": arguments.sweeps}},
                "split": {"official": {"fold": fold}},
                "seed": seed,
            }
            run = tabcf.fit(spec)
            own = run.trained.events.source.frame[["user_id", "item_id"]]
            marked = events.merge(own, how="left", indicator=True)
            is_train = (marked["_merge"] == "both").to_numpy()
            train, test = events[is_train], events[~is_train].reset_index(drop=True)
            ours = run.predict(test)["prediction"].to_numpy()
            theirs, seconds = of_myfm(train, test, arguments.sweeps, seed)
            truth = test["rating"].to_numpy()
            errors = pd.DataFrame(
                {
                    "user": test["user_id"],
                    "ours": (ours - truth) ** 2,
                    "theirs": (theirs - truth) ** 2,
                }
            )
            sums = errors.groupby("user")[["ours", "theirs"]].mean()
            low, high = bootstrap_interval((sums["ours"] - sums["theirs"]).to_numpy())
            root = np.sqrt(errors[["ours", "theirs"]].mean())
            print(
                f"{fold} seed {seed}: tabcf {root['ours']:.4f} in {run.report.cpu_seconds:.1f} "
                f"CPU-s, myFM {root['theirs']:.4f} in {seconds:.1f} CPU-s; squared error a user, "
                f"difference [{low:+.4f}, {high:+.4f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
