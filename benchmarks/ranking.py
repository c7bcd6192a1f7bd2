"""Lists on MovieLens-100K: mean NDCG@10 over u1-u5, and on a global time split, with intervals.

    pip install 'tabcf[fast]' implicit cornac lenskit
    python benchmarks/ranking.py --tune       # writes ranking.json beside this file
    python benchmarks/ranking.py              # measures with the settings that stand there

Protocol: every interaction is a positive; each model trains on all training rows of a fold and
ranks all items that these hold, less those that the user had there, for the test users.

Tuning: every model, peers and baselines included, gets 13 trials: settings that were known to be
good before, and 12 that are drawn from its space (both in `ranking_models.py`; seed 0). Those with
the highest NDCG@10 on validation rows are kept: for the folds a random tenth of u1's training rows
(seed 42), for the time split the last tenth but one and the last tenth before the test, each told
by what is older; the mean of both counts. An ensemble has the settings of its single model. Test
rows choose nothing.

Measuring: where chance has a part, three seeds. A figure is the median over seeds of the mean
over folds of the mean over users. Differences are those of a user in a fold, averaged over seeds;
95 % bootstrap intervals over users, with all their folds (5,000 resamples, seed 0).

The official folds hold test events that are older than training events; the time split does not.
Each result is kept in the file that `--results` names, and what stands there is not fitted again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ranking_models import CONTENDERS, drawn

from tabcf.data.splits import official_split, time_split

N_DRAWN = 12
SEEDS = (1, 2, 3)
FOLDS = ("u1", "u2", "u3", "u4", "u5")
PROTOCOLS: dict[str, Sequence[str]] = {"u1-u5": FOLDS, "time": ("time",)}
SETTINGS = Path(__file__).with_name("ranking.json")


def ratings() -> pd.DataFrame:
    from tabcf.data.sources import read_source

    return read_source("builtin:movielens-100k/ratings").frame


def tests(events: pd.DataFrame, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows."""
    if split == "time":
        return _cut(events, 0.8, 1.0)
    part = official_split(events, fold=split, valid=0.0, rng=np.random.default_rng(42))
    return _of(events, part == 0), _of(events, part == 2)


def validations(events: pd.DataFrame, protocol: str) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Pairs of training and validation rows, none of them a test row."""
    if protocol == "time":
        return [_cut(events, 0.6, 0.7), _cut(events, 0.7, 0.8)]
    part = official_split(events, fold="u1", valid=0.1, rng=np.random.default_rng(42))
    return [(_of(events, part == 0), _of(events, part == 1))]


def _cut(events: pd.DataFrame, start: float, stop: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The events before a share of all, by time, and those from there to another share."""
    part = time_split(events, column="timestamp", valid=stop - start, test=1 - stop)
    return _of(events, part == 0), _of(events, part == 1)


def _of(events: pd.DataFrame, is_chosen: np.ndarray) -> pd.DataFrame:
    return events[is_chosen].reset_index(drop=True)


def tune(protocol: str, name: str) -> dict[str, Any]:
    """The best of some drawn settings, and what they were worth on validation rows."""
    contender = CONTENDERS[name]
    pairs = validations(ratings(), protocol)
    rng = np.random.default_rng(0)
    found: list[tuple[float, dict[str, Any]]] = []
    trials = [contender.start]
    trials += [drawn(contender.space, rng) for _ in range(N_DRAWN if contender.space else 0)]
    for settings in trials:
        values = [contender.fit(*pair, settings, 42).users["ndcg"].mean() for pair in pairs]
        found.append((round(float(np.mean(values)), 4), settings))
        print(f"{protocol} {name}: {found[-1][0]:.4f} {settings}", flush=True)
    best = max(found, key=lambda one: one[0])
    return {"settings": best[1], "valid": best[0], "trials": sorted(one[0] for one in found)}


def measure(names: Sequence[str], protocols: Sequence[str], path: Path) -> pd.DataFrame:
    """One row a model, split, seed and test user."""
    chosen = json.loads(SETTINGS.read_text())
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["model", "split", "seed"])
    known = {tuple(key) for key in done[["model", "split", "seed"]].drop_duplicates().to_numpy()}
    events = ratings()
    for name, protocol, split, seed in _wanted(names, protocols):
        if (name, split, seed) in known:
            continue
        contender = CONTENDERS[name]
        settings = chosen[protocol][contender.tuned_as or name]["settings"]
        measured = contender.fit(*tests(events, split), settings, seed)
        frame = measured.users.reset_index().assign(
            model=name, split=split, seed=seed, seconds=measured.seconds
        )
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)
        print(f"{split} {name}, seed {seed}: {frame['ndcg'].mean():.4f}", flush=True)
    return pd.read_csv(path)


def _wanted(names: Sequence[str], protocols: Sequence[str]) -> Iterator[tuple[str, str, str, int]]:
    for name in names:
        for protocol in (one for one in protocols if one in CONTENDERS[name].protocols):
            for split in PROTOCOLS[protocol]:
                for seed in SEEDS if CONTENDERS[name].is_random else SEEDS[:1]:
                    yield name, protocol, split, seed


def interval(differences: np.ndarray, users: np.ndarray | None = None) -> tuple[float, float]:
    """The bootstrap interval of a mean; of those of one user, all are drawn or none."""
    rng = np.random.default_rng(0)
    groups = np.arange(len(differences)) if users is None else users
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, differences), np.bincount(group)
    draws = rng.integers(0, len(sums), (5_000, len(sums)))
    low, high = np.percentile(sums[draws].sum(1) / counts[draws].sum(1), [2.5, 97.5])
    return float(low), float(high)


def difference(results: pd.DataFrame, one: str, other: str) -> tuple[float, float, float]:
    """The mean difference of two models and its interval."""
    means = results.groupby(["model", "split", "user_id"])["ndcg"].mean()
    paired = (means[one] - means[other]).dropna()
    users = paired.index.get_level_values("user_id").to_numpy()
    return float(paired.mean()), *interval(paired.to_numpy(), users)


def show(results: pd.DataFrame) -> None:
    """A table for each protocol: figures, and the best model's and EASE's differences to all."""
    for protocol, splits in PROTOCOLS.items():
        of = results[results["split"].isin(splits)]
        if "ease" not in set(of["model"]):
            continue
        by_fold = of.groupby(["model", "seed", "split"])[["ndcg", "recall", "seconds"]].mean()
        figures = by_fold.groupby(["model", "seed"]).mean().groupby("model").median()
        figures = figures.sort_values("ndcg", ascending=False)
        best = figures.index[0]
        print(f"\n{protocol}: NDCG@10, recall@10, CPU-s a fit; to EASE; {best} less this one")
        for name, row in figures.iterrows():
            to_ease = difference(of, str(name), "ease")
            to_best = difference(of, best, str(name))
            print(
                f"{name!s:22s} {row['ndcg']:.4f} {row['recall']:.4f} {row['seconds']:6.2f}  "
                f"[{to_ease[1]:+.4f}, {to_ease[2]:+.4f}]  [{to_best[1]:+.4f}, {to_best[2]:+.4f}]"
            )
        if protocol == "u1-u5":
            u1 = of[of["split"] == "u1"].groupby(["model", "seed"])["ndcg"].mean()
            print("u1 alone: " + ", ".join(f"{n} {u1[n].median():.4f}" for n in figures.index))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tune", action="store_true", help="choose settings on validation rows")
    parser.add_argument("--only", nargs="+", choices=[*CONTENDERS], default=[*CONTENDERS])
    parser.add_argument("--protocol", nargs="+", choices=[*PROTOCOLS], default=[*PROTOCOLS])
    parser.add_argument("--results", type=Path, default=Path("ranking.csv"), help="where to keep")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.tune:
        show(measure(given.only, given.protocol, given.results))
        return
    for protocol in given.protocol:
        for name in given.only:
            if CONTENDERS[name].tuned_as is None and protocol in CONTENDERS[name].protocols:
                found = tune(protocol, name)
                kept = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
                kept.setdefault(protocol, {})[name] = found
                SETTINGS.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
