"""Draws from the posterior of a factorisation machine, beside myFM on the same rows and columns.

Rank 10, MovieLens-100K, the official folds or the newest tenth of all ratings; predictions of both
cut off at 1 and 5. `ids`: users and items alone; `all`: the columns of
`examples/records/gibbs-all.yaml`, given to myFM as relation blocks; `probit`: ids with an ordered
probit. Nothing is chosen: both draw their penalties. Prints test RMSE and MAE, for `probit` the
log loss, how many ratings our 90 % intervals cover, CPU seconds of the fits, and the paired 95 %
interval of the difference in squared error a user (bootstrap over users).

    pip install myfm
    OMP_NUM_THREADS=1 python benchmarks/vs_myfm.py ids --folds u1 u2 time --seeds 42 2> /dev/null
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import myfm
import numpy as np
import pandas as pd
import scipy.sparse as sps
import yaml

import tabcf
from tabcf.data.sources import read_source
from tabcf.evaluation.compare import bootstrap_interval

DATA = "builtin:movielens-100k/ratings"
LEVELS = np.arange(1.0, 6.0)
BURN_IN = 64


class Found(NamedTuple):
    """What a peer says of test rows; probabilities `(N, 5)` after an ordered probit."""

    value: np.ndarray
    probabilities: np.ndarray | None
    seconds: float


def spec_for(what: str, fold: str, sweeps: int, seed: int) -> dict[str, Any]:
    """The records' spec for a fold."""
    name = "gibbs-all" if what == "all" else "gibbs-ids"
    spec: dict[str, Any] = yaml.safe_load(Path(f"examples/records/{name}.yaml").read_text())
    likelihood = "ordered_probit" if what == "probit" else "normal"
    spec["fit"] = {"gibbs": {"sweeps": sweeps, "likelihood": likelihood}}
    official = {"official": {"fold": fold}}
    newest = {"time": {"column": "timestamp", "valid": 0.0, "test": 0.1}}
    spec["split"] = newest if fold == "time" else official
    metrics = ["rmse", "mae", {"interval_coverage": 0.9}]
    metrics += ["log_loss", "accuracy", "calibration_error"] if what == "probit" else []
    return spec | {"seed": seed, "metrics": metrics}


def one_hot(codes: np.ndarray, n: int) -> sps.csr_matrix:
    """`(N, n)`: a one where each row's code is; a code of -1 has none."""
    rows = np.flatnonzero(codes >= 0)
    ones = np.ones(len(rows))
    return sps.csr_matrix((ones, (rows, codes[rows])), shape=(len(codes), n))


def of_texts(values: pd.Series) -> sps.csr_matrix:
    """One column a value."""
    codes, known = pd.factorize(values)
    return one_hot(codes, len(known))


def of_sets(rows: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> sps.csr_matrix:
    """`(n, values)`: each row's values over the root of how many it has."""
    matrix = sps.csr_matrix((np.ones(len(rows)), (rows, values)), shape=shape)
    counts = np.maximum(np.asarray(matrix.sum(1)).ravel(), 1)
    return (sps.diags(counts**-0.5) @ matrix).tocsr()


def entity_blocks(train: pd.DataFrame) -> dict[str, tuple[pd.Index, list[sps.csr_matrix]]]:
    """Each entity's ids, and the columns of `gibbs-all.yaml` for them."""
    users = read_source("builtin:movielens-100k/users").frame
    items = read_source("builtin:movielens-100k/items").frame
    user_ids, item_ids = pd.Index(users["user_id"]), pd.Index(items["item_id"])
    user = user_ids.get_indexer(train["user_id"])
    item = item_ids.get_indexer(train["item_id"])
    band = pd.Series(np.searchsorted([18, 25, 35, 45, 50, 56], users["age"], side="right"))
    genres = items["genres"].fillna("").str.get_dummies("|").to_numpy()
    size = (len(users), len(items))
    of_users = [
        one_hot(np.arange(len(users)), len(users)),
        *(of_texts(column) for column in (users["gender"], users["occupation"], band)),
        of_sets(user, item, size),
    ]
    of_items = [
        one_hot(np.arange(len(items)), len(items)),
        of_texts(items["year"].astype("string").fillna("")),
        of_sets(*np.nonzero(genres), genres.shape),
        of_sets(item, user, size[::-1]),
    ]
    return {"user_id": (user_ids, of_users), "item_id": (item_ids, of_items)}


def of_myfm(train: pd.DataFrame, test: pd.DataFrame, what: str, sweeps: int, seed: int) -> Found:
    """Predictions and CPU seconds of the peer."""
    started = time.process_time()
    given: list[dict[str, Any]] = [{}, {}]
    groups = []
    if what == "all":
        edges = np.unique(np.quantile(train["timestamp"], np.linspace(0, 1, 201)[1:-1]))
        days = [np.searchsorted(edges, f["timestamp"]) for f in (train, test)]
        for own, day in zip(given, days, strict=True):
            own["X"], own["X_rel"] = one_hot(day, len(edges) + 1), []
        groups.append(len(edges) + 1)
        for column, (ids, parts) in entity_blocks(train).items():
            groups += [part.shape[1] for part in parts]
            block = sps.hstack(parts, format="csr")
            for own, frame in zip(given, (train, test), strict=True):
                own["X_rel"].append(myfm.RelationBlock(ids.get_indexer(frame[column]), block))
    else:
        parts = []
        for column in ("user_id", "item_id"):
            known = pd.Index(np.sort(train[column].unique()))
            parts.append([one_hot(known.get_indexer(f[column]), len(known)) for f in (train, test)])
        groups = [part[0].shape[1] for part in parts]
        for number, own in enumerate(given):
            own["X"] = sps.hstack([part[number] for part in parts], format="csr")
    kind = myfm.MyFMOrderedProbit if what == "probit" else myfm.MyFMGibbsRegressor
    machine = kind(rank=10, random_seed=seed)
    target = train["rating"].to_numpy()
    target = target - 1 if what == "probit" else target.astype(float)
    machine.fit(
        y=target, n_iter=sweeps, n_kept_samples=sweeps - BURN_IN, group_shapes=groups, **given[0]
    )
    if what == "probit":
        shares = machine.predict_proba(**given[1])
        return Found(shares @ LEVELS, shares, time.process_time() - started)
    value = np.clip(machine.predict(**given[1]), 1, 5)
    return Found(value, None, time.process_time() - started)


def log_loss(shares: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log of the true level's probability."""
    own = shares[np.arange(len(truth)), truth.astype(int) - 1]
    return float(-np.log(np.maximum(own, 1e-15)).mean())


def compared(what: str, fold: str, sweeps: int, seed: int) -> str:
    """One line on one fold and seed."""
    events = read_source(DATA).frame
    run = tabcf.fit(spec_for(what, fold, sweeps, seed))
    own = run.trained.events.source.frame[["user_id", "item_id"]]
    is_train = (events.merge(own, how="left", indicator=True)["_merge"] == "both").to_numpy()
    train, test = events[is_train], events[~is_train].reset_index(drop=True)
    ours = run.predict(test)["prediction"].to_numpy()
    theirs = of_myfm(train, test, what, sweeps, seed)
    truth = test["rating"].to_numpy()
    off = pd.DataFrame({"ours": ours - truth, "theirs": theirs.value - truth})
    by_user = off.pow(2).groupby(test["user_id"]).mean()
    low, high = bootstrap_interval((by_user["ours"] - by_user["theirs"]).to_numpy())
    rmse, mae = off.pow(2).mean() ** 0.5, off.abs().mean()
    tested = run.report.test
    line = (
        f"{what} {fold} seed {seed}: RMSE tabcf {rmse['ours']:.4f}, myFM {rmse['theirs']:.4f}; "
        f"MAE {mae['ours']:.4f}, {mae['theirs']:.4f}; CPU-s {run.report.cpu_seconds:.1f}, "
        f"{theirs.seconds:.1f}; 90 % covers {tested['interval_coverage']:.3f}; squared error a "
        f"user, difference [{low:+.4f}, {high:+.4f}]"
    )
    if theirs.probabilities is not None:
        line += (
            f"; log loss {tested['log_loss']:.4f}, {log_loss(theirs.probabilities, truth):.4f}; "
            f"accuracy {tested['accuracy']:.3f}, calibration error "
            f"{tested['calibration_error']:.4f}"
        )
    return line


def main() -> None:
    """Print one line a fold and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["ids", "all", "probit"])
    parser.add_argument("--folds", nargs="+", default=["u1"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--sweeps", type=int, default=512)
    arguments = parser.parse_args()
    for fold in arguments.folds:
        for seed in arguments.seeds:
            print(compared(arguments.what, fold, arguments.sweeps, seed), flush=True)


if __name__ == "__main__":
    main()
