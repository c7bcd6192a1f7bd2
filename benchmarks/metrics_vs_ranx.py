"""tabcf's metrics of hits beside those of ranx and scikit-learn on the same random lists.

    python benchmarks/metrics_vs_ranx.py

2,000 users, 500 items, 1 to 40 relevant ones a user, lists of 100. Prints the largest difference
of any user's value. ranx's average precision at k divides by all of a user's relevant items, also
where more than k of them cannot be listed; tabcf divides by min(k, n_relevant). The row `map` is
compared after that factor.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import ndcg_score

from tabcf import metrics

N_USERS, N_ITEMS, LENGTH, SEED = 2_000, 500, 100, 0
KS = (1, 5, 10, 20, 100)
OF_RANX = {
    "ndcg": metrics.ndcg_at_k,
    "recall": metrics.recall_at_k,
    "precision": metrics.precision_at_k,
    "hit_rate": metrics.hit_rate_at_k,
    "mrr": metrics.mrr_at_k,
    "map": metrics.map_at_k,
}


def lists() -> tuple[np.ndarray, np.ndarray]:
    """Ranked items `(U, K)` and which items are relevant `(U, I)`."""
    rng = np.random.default_rng(SEED)
    ranked = rng.random((N_USERS, N_ITEMS)).argsort(1)[:, :LENGTH]
    n_relevant = rng.integers(1, 41, (N_USERS, 1))
    is_relevant = rng.random((N_USERS, N_ITEMS)).argsort(1) < n_relevant
    return ranked, is_relevant


def with_ranx(ranked: np.ndarray, is_relevant: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric at each k, one value a user."""
    from ranx import Qrels, Run, evaluate

    qrels = Qrels(
        {f"u{u:05}": {f"i{i}": 1 for i in np.flatnonzero(row)} for u, row in enumerate(is_relevant)}
    )
    run = Run(
        {
            f"u{u:05}": {f"i{i}": float(LENGTH - place) for place, i in enumerate(row)}
            for u, row in enumerate(ranked)
        }
    )
    names = [f"{name}@{k}" for name in OF_RANX for k in KS]
    found: dict[str, np.ndarray] = evaluate(qrels, run, names, return_mean=False)
    return found


def with_scikit_learn(ranked: np.ndarray, is_relevant: np.ndarray, k: int) -> np.ndarray:
    """NDCG at k, one value a user."""
    scores = np.zeros(is_relevant.shape)
    np.put_along_axis(scores, ranked, np.arange(LENGTH, 0.0, -1)[None], axis=1)
    rows = zip(is_relevant, scores, strict=True)
    return np.array([ndcg_score([truth], [score], k=k) for truth, score in rows])


def main() -> None:
    """Print the largest differences."""
    ranked, is_relevant = lists()
    hits = torch.from_numpy(np.take_along_axis(is_relevant, ranked, axis=1))
    n_relevant = torch.from_numpy(is_relevant.sum(1))
    of_ranx = with_ranx(ranked, is_relevant)
    print(f"{'metric':<10}  {'peer':<12}  largest difference")
    for name, compute in OF_RANX.items():
        largest = 0.0
        for k in KS:
            own = compute(hits[:, :k], n_relevant)
            if name == "map":
                own = own * n_relevant.clamp(max=k) / n_relevant
            largest = max(largest, np.abs(own.numpy() - of_ranx[f"{name}@{k}"]).max())
        print(f"{name:<10}  {'ranx':<12}  {largest:.1e}")
    own = metrics.ndcg_at_k(hits[:, :10], n_relevant).numpy()
    largest = np.abs(own - with_scikit_learn(ranked, is_relevant, 10)).max()
    print(f"{'ndcg':<10}  {'scikit-learn':<12}  {largest:.1e}")


if __name__ == "__main__":
    main()
