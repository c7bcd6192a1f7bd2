"""Draws from the posterior of a factorisation machine, beside myFM on the same rows and columns.

Rank 10, MovieLens-100K, the official folds or the newest fifth of all ratings; predictions of both
cut off at 1 and 5. `ids`: users and items alone; `side`: their attributes as well; `bags`: also all
that a user rated and all who rated an item; `all`: also the day, the columns of
`examples/records/gibbs-all.yaml`; `probit` and `all-probit`: an ordered probit on the first and the
last of these. myFM is given attributes and bags as relation blocks. Nothing is chosen: both draw
their penalties.

    pip install myfm
    OMP_NUM_THREADS=1 python benchmarks/vs_myfm.py ids --folds u1 u2 time --seeds 42 43 44

Every fit's predictions are kept in `--cache`, where a second run finds them. Prints for each fold
the test RMSE of each seed, the mean MAE, and the paired 95 % interval of the difference in squared
error a user, a mean over seeds (bootstrap over users); the same of the mean of our seeds'
predictions against the seed of myFM that is best on these very rows, and against the mean of all of
its; means over seeds of CPU seconds, of how many ratings our 90 % intervals cover, and for a probit
of what is told of levels. Below all folds the same over u1 to u5 together, where each rating is
tested once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
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
WHAT = ("ids", "side", "bags", "all", "probit", "all-probit")


class Found(NamedTuple):
    """What a peer says of test rows; probabilities `(N, 5)` after an ordered probit."""

    value: np.ndarray
    probabilities: np.ndarray | None
    seconds: float


def is_probit(what: str) -> bool:
    """Whether levels are to have probabilities."""
    return what.endswith("probit")


def spec_for(what: str, fold: str, sweeps: int, seed: int, *, chains: int) -> dict[str, Any]:
    """The records' spec for a fold, with fewer columns where these are not asked for."""
    name = "gibbs-ids" if what in ("ids", "probit") else "gibbs-all"
    spec: dict[str, Any] = yaml.safe_load(Path(f"examples/records/{name}.yaml").read_text())
    if what in ("side", "bags"):
        del spec["columns"]
    if what == "side":
        del spec["entities"]["user"]["columns"]["rated"]
        del spec["entities"]["item"]["columns"]["raters"]
    likelihood = "ordered_probit" if is_probit(what) else "normal"
    spec["fit"] = {"gibbs": {"sweeps": sweeps, "chains": chains, "likelihood": likelihood}}
    official = {"official": {"fold": fold}}
    newest = {"time": {"column": "timestamp", "valid": 0.0, "test": 0.2}}
    spec["split"] = newest if fold == "time" else official
    metrics = ["rmse", "mae", {"interval_coverage": 0.9}]
    metrics += ["log_loss", "accuracy", "calibration_error"] if is_probit(what) else []
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


def entity_blocks(
    train: pd.DataFrame, *, with_bags: bool
) -> dict[str, tuple[pd.Index, list[sps.csr_matrix]]]:
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
    ]
    of_items = [
        one_hot(np.arange(len(items)), len(items)),
        of_texts(items["year"].astype("string").fillna("")),
        of_sets(*np.nonzero(genres), genres.shape),
    ]
    if with_bags:
        of_users.append(of_sets(user, item, size))
        of_items.append(of_sets(item, user, size[::-1]))
    return {"user_id": (user_ids, of_users), "item_id": (item_ids, of_items)}


def of_myfm(train: pd.DataFrame, test: pd.DataFrame, what: str, sweeps: int, seed: int) -> Found:
    """Predictions and CPU seconds of the peer."""
    started = time.process_time()
    given: list[dict[str, Any]] = [{}, {}]
    groups = []
    if what not in ("ids", "probit"):
        for own, frame in zip(given, (train, test), strict=True):
            own["X"], own["X_rel"] = sps.csr_matrix((len(frame), 0)), []
        if what.startswith("all"):
            edges = np.unique(np.quantile(train["timestamp"], np.linspace(0, 1, 201)[1:-1]))
            for own, frame in zip(given, (train, test), strict=True):
                own["X"] = one_hot(np.searchsorted(edges, frame["timestamp"]), len(edges) + 1)
            groups.append(len(edges) + 1)
        blocks = entity_blocks(train, with_bags=what != "side")
        for column, (ids, parts) in blocks.items():
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
    kind = myfm.MyFMOrderedProbit if is_probit(what) else myfm.MyFMGibbsRegressor
    machine = kind(rank=10, random_seed=seed)
    target = train["rating"].to_numpy()
    target = target - 1 if is_probit(what) else target.astype(float)
    machine.fit(
        y=target, n_iter=sweeps, n_kept_samples=sweeps - BURN_IN, group_shapes=groups, **given[0]
    )
    if is_probit(what):
        shares = machine.predict_proba(**given[1])
        return Found(shares @ LEVELS, shares, time.process_time() - started)
    value = np.clip(machine.predict(**given[1]), 1, 5)
    return Found(value, None, time.process_time() - started)


def log_loss(shares: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log of the true level's probability."""
    own = shares[np.arange(len(truth)), truth.astype(int) - 1]
    return float(-np.log(np.maximum(own, 1e-15)).mean())


def compared(what: str, fold: str, sweeps: int, seed: int, *, chains: int) -> dict[str, Any]:
    """Both fits' predictions of test rows, and figures of theirs."""
    events = read_source(DATA).frame
    run = tabcf.fit(spec_for(what, fold, sweeps, seed, chains=chains))
    own = run.trained.events.source.frame[["user_id", "item_id"]]
    is_train = (events.merge(own, how="left", indicator=True)["_merge"] == "both").to_numpy()
    train, test = events[is_train], events[~is_train].reset_index(drop=True)
    ours = run.predict(test)["prediction"].to_numpy()
    theirs = of_myfm(train, test, what, sweeps, seed)
    truth = test["rating"].to_numpy()
    figures = dict(run.report.test) | {"seconds": run.report.cpu_seconds}
    figures["their_seconds"] = theirs.seconds
    if theirs.probabilities is not None:
        figures["their_log_loss"] = log_loss(theirs.probabilities, truth)
    return {
        "user": test["user_id"].to_numpy(),
        "truth": truth,
        "ours": ours,
        "theirs": theirs.value,
        **{f"figure_{name}": value for name, value in figures.items()},
    }


class Fits(NamedTuple):
    """All seeds on one fold.

    Shape:
        user, truth: `(N,)`.
        ours, theirs: `(seeds, N)`.
        figures: means over seeds.
    """

    user: np.ndarray
    truth: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray
    figures: dict[str, float]


def fitted(
    what: str, fold: str, sweeps: int, seeds: list[int], cache: Path, *, chains: int
) -> Fits:
    """What all seeds found, from the cache where it is there."""
    found = []
    for seed in seeds:
        several = "" if chains == 1 else f"-{chains}"
        path = cache / f"{what}-{fold}-{sweeps}-{seed}{several}.npz"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **compared(what, fold, sweeps, seed, chains=chains))
        with np.load(path) as kept:
            found.append(dict(kept))
    names = [name for name in found[0] if name.startswith("figure_")]
    figures = {
        name.removeprefix("figure_"): float(np.mean([own[name] for own in found])) for name in names
    }
    ours, theirs = (np.stack([own[side] for own in found]) for side in ("ours", "theirs"))
    return Fits(found[0]["user"], found[0]["truth"], ours, theirs, figures)


def difference(user: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> str:
    """The interval of a user's mean difference of squared errors `(N,)`."""
    by_user = pd.Series(ours - theirs).groupby(user).mean().to_numpy()
    low, high = bootstrap_interval(by_user)
    return f"{by_user.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def roots(squares: np.ndarray) -> str:
    """The RMSE of each seed, and their mean, from squared errors `(seeds, N)`."""
    each = np.sqrt(squares.mean(1))
    return f"{each.mean():.4f} ({', '.join(f'{own:.4f}' for own in each)})"


def told(name: str, found: Fits) -> Iterator[str]:
    """Lines on one fold, or on several together."""
    ours, theirs = (np.square(own - found.truth) for own in (found.ours, found.theirs))
    mae = [np.abs(own - found.truth).mean() for own in (found.ours, found.theirs)]
    yield f"{name}: RMSE tabcf {roots(ours)}, myFM {roots(theirs)}"
    yield f"  MAE {mae[0]:.4f}, {mae[1]:.4f}"
    between = difference(found.user, ours.mean(0), theirs.mean(0))
    yield f"  squared error a user, difference {between}"
    together = np.square(found.ours.mean(0) - found.truth)
    best = theirs[theirs.mean(1).argmin()]
    yield (
        f"  mean of our seeds {together.mean() ** 0.5:.4f}, best of myFM's "
        f"{best.mean() ** 0.5:.4f}; difference {difference(found.user, together, best)}"
    )
    both = np.square(found.theirs.mean(0) - found.truth)
    yield (
        f"  mean of myFM's seeds {both.mean() ** 0.5:.4f}; difference "
        f"{difference(found.user, together, both)}"
    )
    if found.figures:
        figures = {name: round(value, 4) for name, value in found.figures.items()}
        yield f"  {figures}"


def main() -> None:
    """Print some lines a fold, and some on all official folds together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--folds", nargs="+", default=["u1"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--sweeps", type=int, default=512)
    parser.add_argument("--chains", type=int, default=1, help="of tabcf; myFM has one")
    parser.add_argument("--cache", type=Path, default=Path("runs/vs-myfm"))
    arguments = parser.parse_args()
    what, official = arguments.what, []
    for fold in arguments.folds:
        found = fitted(
            what,
            fold,
            arguments.sweeps,
            arguments.seeds,
            arguments.cache,
            chains=arguments.chains,
        )
        print("\n".join(told(f"{what} {fold}", found)), flush=True)
        official += [found] if fold != "time" else []
    if len(official) > 1:
        user, truth = (np.concatenate([own[k] for own in official]) for k in (0, 1))
        ours, theirs = (np.concatenate([own[k] for own in official], 1) for k in (2, 3))
        print("\n".join(told(f"{what} official folds", Fits(user, truth, ours, theirs, {}))))


if __name__ == "__main__":
    main()
