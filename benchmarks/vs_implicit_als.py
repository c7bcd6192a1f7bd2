"""`ials` beside implicit's alternating least squares: NDCG@10 on MovieLens-100K, u1-u5.

    pip install implicit
    python benchmarks/vs_implicit_als.py

Every interaction of a fold's training rows is a positive; all items but those are ranked for the
test users. implicit's settings are the best of twelve by NDCG@10 on a validation tenth of u1's
training rows (seed 42), as `ials`' defaults are. Differences are paired by user and fold; 95 %
bootstrap intervals over these pairs (5,000 resamples, seed 0).
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import torch
from ranking import SPLITS, fitted, interval, ratings
from scipy.sparse import csr_matrix

from tabcf.metrics import ndcg_at_k

N_USERS, N_ITEMS, N_TEST = 944, 1683, 20_000


def matrix(frame: Any) -> csr_matrix:
    ones = np.ones(len(frame), dtype=np.float32)
    return csr_matrix((ones, (frame["user_id"], frame["item_id"])), shape=(N_USERS, N_ITEMS))


def theirs(train: Any, test: Any, *, factors: int, regularization: float) -> dict[int, float]:
    """NDCG@10 by test user."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors, regularization=regularization, random_state=0, num_threads=1
    )
    known = matrix(train)
    model.fit(known, show_progress=False)
    users = np.unique(test["user_id"])
    lists, _ = model.recommend(users, known[users], N=10, filter_already_liked_items=True)
    relevant = matrix(test)[users].toarray() > 0
    hits = torch.from_numpy(np.take_along_axis(relevant, lists, 1))
    values = ndcg_at_k(hits, torch.from_numpy(relevant.sum(1)))
    return dict(zip(users.tolist(), values.tolist(), strict=True))


def main() -> None:
    events = ratings()
    base = events.iloc[N_TEST:].reset_index(drop=True)
    is_valid = np.random.default_rng(42).random(len(base)) < 0.1
    best, chosen = -1.0, {}
    for factors, regularization in itertools.product((16, 32, 64), (1.0, 3.0, 10.0, 30.0)):
        options = {"factors": factors, "regularization": regularization}
        value = float(np.mean([*theirs(base[~is_valid], base[is_valid], **options).values()]))
        print(f"validation, implicit {options}: {value:.4f}", flush=True)
        if value > best:
            best, chosen = value, options
    differences, ours_mean, theirs_mean, seconds = [], [], [], []
    for number, split in enumerate([*SPLITS][:5]):
        is_test = np.zeros(len(events), dtype=bool)
        is_test[number * N_TEST : (number + 1) * N_TEST] = True
        started = time.process_time()
        peer = theirs(events[~is_test], events[is_test], **chosen)
        seconds.append(time.process_time() - started)
        own, _, _ = fitted("ials", SPLITS[split])
        paired = [own[user] - peer[user] for user in own.index]
        differences += paired
        ours_mean.append(own.mean())
        theirs_mean.append(np.mean([peer[user] for user in own.index]))
        print(f"{split}: ials {ours_mean[-1]:.4f}, implicit {theirs_mean[-1]:.4f}", flush=True)
    low, high = interval(np.array(differences))
    print(f"implicit {chosen}, {np.mean(seconds):.2f} CPU-s a fold")
    print(f"ials {np.mean(ours_mean):.4f}, implicit {np.mean(theirs_mean):.4f}")
    print(f"difference [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
