"""Questions for new users on MovieLens-100K: RMSE and NDCG@10 against the number of questions.

    python benchmarks/onboarding.py [ratings] [lists] [validation] [SELECTOR ...]

Protocol: users are drawn at random once (seed 0): 300 for the test, 150 for the validation. Options
of selectors were chosen on the validation users, by runs without test users' ratings. The test
users are new to a run that is trained on all other users. Each user is interviewed five times for
ratings and three times for lists, each time with other halves of
their events: one half is what they can answer, the other what is predicted; whatever they are asked
about besides costs a question and gets "don't know". Figures are means over users, differences are
paired by user, with 95 % bootstrap intervals (10,000 resamples, seed 0).

The ratings are predicted by `als`, the lists are those of `bpr`, for which each rating is a choice.
The factor saved is how many questions `popularity` or `random` needs, on the line between the
numbers of questions that were measured, for what the selector has after 3, 5 and 10.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd

import tabcf
from tabcf.data.sources import read_source
from tabcf.evaluation.compare import bootstrap_interval

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
RUNS: dict[str, dict[str, Any]] = {
    "ratings": {
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "model": {"dot_product_bias": {"factors": 10}},
        "fit": "als",
    },
    "lists": {
        "target": {"implicit": {}},
        "model": {"dot_product_bias": {"factors": 32}},
        "loss": "bpr",
        "negatives": {"uniform": 4},
        "train": {
            "epochs": 20,
            "batch_size": 1024,
            "learning_rate": 2e-2,
            "weight_decay": 0.4,
        },
    },
}
SELECTORS = (
    "random",
    "popularity",
    "entropy0",
    "log_pop_entropy",
    "helf",
    "d_optimal",
    "tree",
    "rehearsed",
)
AT = (0, 1, 2, 3, 5, 7, 10, 20)
COMPARED = (3, 5, 10)
N_TEST, N_VALIDATION = 300, 150
N_HALVINGS = {"ratings": 5, "lists": 3}


def users_of(events: pd.DataFrame, *, is_validation: bool) -> tuple[np.ndarray, np.ndarray]:
    """Users that a run must not see, and those of them that are interviewed."""
    users = np.random.default_rng(0).permutation(np.sort(events["user_id"].unique()))
    asked = users[N_TEST : N_TEST + N_VALIDATION] if is_validation else users[:N_TEST]
    return (users[: N_TEST + N_VALIDATION] if is_validation else asked), asked


def replayed(
    name: str, events: pd.DataFrame, selectors: list[str], *, is_validation: bool
) -> tuple[str, pd.DataFrame]:
    """The metric, and a row a selector, number of questions and user."""
    hidden, asked = users_of(events, is_validation=is_validation)
    spec = {
        "tabcf": 1,
        "entities": ENTITIES,
        "split": {"random": {"valid": 0, "test": 0}},
        **RUNS[name],
    }
    is_hidden = events["user_id"].isin(hidden)
    run = tabcf.fit(spec, events[~is_hidden].reset_index(drop=True), plugins=["no:*"])
    rows = events[events["user_id"].isin(asked)].reset_index(drop=True)
    found = []
    for selector in selectors:
        start = time.process_time()
        n = N_HALVINGS[name]
        replay = run.replay_interviews(rows, selectors=[selector], at=AT, n_halvings=n)
        found.append(replay.users)
        seconds = time.process_time() - start
        print(f"{name} {selector}: {seconds:.1f} CPU-s", file=sys.stderr, flush=True)
    return replay.metric, pd.concat(found, ignore_index=True)


def needed(curve: pd.Series, value: float) -> float:
    """After how many questions a curve by number of questions comes to a value; NaN for never."""
    numbers, values = curve.index.to_numpy(dtype=float), curve.to_numpy()
    reached = np.flatnonzero(values >= value)
    if not len(reached):
        return float("nan")
    place = reached[0]
    if place == 0:
        return float(numbers[0])
    part = (value - values[place - 1]) / (values[place] - values[place - 1])
    return float(numbers[place - 1] + part * (numbers[place] - numbers[place - 1]))


def show(metric: str, users: pd.DataFrame) -> None:
    names = users["selector"].unique().tolist()
    wide = users.pivot(index="user_id", columns=["selector", "n_asked"], values=metric)
    sign = -1 if metric == "rmse" else 1
    means = (sign * wide).mean().unstack(0)
    known = users[users["n_asked"] == 10].groupby("selector")["n_known"].mean()
    print(f"\n{metric} of {len(wide)} users after so many questions, and items known of 10")
    print(f"{'':16s}" + "".join(f"{n:>8d}" for n in AT) + "   known")
    for name in names:
        row = "".join(f"{sign * means.loc[n, name]:8.4f}" for n in AT)
        print(f"{name:16s}{row}{known[name]:8.2f}")
    others = [name for name in ("random", "popularity") if name in names]
    for name in names:
        for other in [other for other in others if other != name]:
            parts = []
            for n in COMPARED:
                off = (wide[name, n] - wide[other, n]).to_numpy()
                low, high = bootstrap_interval(off)
                steps = needed(means[other], means.loc[n, name]) / n
                factor = f"over {AT[-1] / n:.1f}" if np.isnan(steps) else f"{steps:.1f}"
                parts.append(f"{n}: {off.mean():+.4f} [{low:+.4f}, {high:+.4f}] x{factor}")
            print(f"{name:16s}- {other:11s}" + "   ".join(parts))


def main() -> None:
    events = read_source("builtin:movielens-100k/ratings").frame
    said = sys.argv[1:]
    selectors = [name for name in SELECTORS if name in said] or list(SELECTORS)
    for name in [name for name in RUNS if name in said] or RUNS:
        show(*replayed(name, events, selectors, is_validation="validation" in said))


if __name__ == "__main__":
    main()
