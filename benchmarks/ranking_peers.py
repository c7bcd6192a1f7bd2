"""The peers of `ranking.py`: what each package is asked for, and how its scores are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from tabcf.metrics import ndcg_at_k, recall_at_k

__all__ = ["Fit", "K", "Measured", "cornac_bpr", "implicit_als", "lenskit_als", "of_scores"]

N_USERS, N_ITEMS, K = 944, 1683, 10  # MovieLens-100K's ids are whole numbers from 1 on


class Measured(NamedTuple):
    """NDCG@10 and recall@10 of test users by their id, and the CPU seconds of the fit."""

    users: pd.DataFrame
    seconds: float


# (training rows, test rows, settings, seed) to what was measured.
Fit = Callable[[pd.DataFrame, pd.DataFrame, dict[str, Any], int], Measured]


def of_scores(scores_of: Callable[..., np.ndarray]) -> Fit:
    """What measures a peer's scores, in which row and column stand for ids; -inf the unknown.

    As in tabcf, users of training count who have a test item that is in it, and so do these items;
    what a user had in training is left out.
    """

    def fit(
        train: pd.DataFrame, test: pd.DataFrame, settings: dict[str, Any], seed: int
    ) -> Measured:
        started = time.process_time()
        scores = scores_of(train, seed=seed, **settings).astype(np.float64)
        seconds = time.process_time() - started
        scores[train["user_id"], train["item_id"]] = -np.inf
        test = test[test["user_id"].isin(train["user_id"])]
        test = test[test["item_id"].isin(train["item_id"])]
        relevant = np.zeros(scores.shape, dtype=bool)
        relevant[test["user_id"], test["item_id"]] = True
        users = np.flatnonzero(relevant.any(1))
        lists = np.argsort(-scores[users], axis=1, kind="stable")[:, :K]
        hits = torch.from_numpy(np.take_along_axis(relevant[users], lists, 1))
        n_relevant = torch.from_numpy(relevant[users].sum(1))
        values = {"ndcg": ndcg_at_k(hits, n_relevant), "recall": recall_at_k(hits, n_relevant)}
        frame = {name: value.numpy() for name, value in values.items()}
        return Measured(pd.DataFrame(frame, index=pd.Index(users, name="user_id")), seconds)

    return fit


def implicit_als(
    train: pd.DataFrame,
    *,
    seed: int,
    factors: int,
    regularization: float,
    alpha: float,
    iterations: int,
    half_life: float | None = None,
) -> np.ndarray:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=iterations,
        random_state=seed,
        num_threads=1,
    )
    weight = np.ones(len(train), dtype=np.float32)
    if half_life is not None:
        days = (train["timestamp"].max() - train["timestamp"]) / 86_400
        weight = np.exp2(-days / half_life).to_numpy(dtype=np.float32)
        weight /= weight.mean()
    known = csr_matrix((weight, (train["user_id"], train["item_id"])), shape=(N_USERS, N_ITEMS))
    model.fit(known, show_progress=False)
    is_known = np.isin(np.arange(N_ITEMS), train["item_id"])
    return np.where(is_known, model.user_factors @ model.item_factors.T, -np.inf)


def cornac_bpr(
    train: pd.DataFrame,
    *,
    seed: int,
    factors: int,
    learning_rate: float,
    lambda_reg: float,
    epochs: int,
) -> np.ndarray:
    from cornac.data import Dataset
    from cornac.models import BPR

    columns = ["user_id", "item_id", "rating"]
    data = Dataset.build(list(train[columns].itertuples(index=False, name=None)))
    model = BPR(
        k=factors,
        learning_rate=learning_rate,
        lambda_reg=lambda_reg,
        max_iter=epochs,
        num_threads=1,
        seed=seed,
    )
    model.fit(data)
    own = model.u_factors @ model.i_factors.T + model.i_biases
    return _by_id(own, list(data.uid_map), list(data.iid_map))


def lenskit_als(
    train: pd.DataFrame,
    *,
    seed: int,
    factors: int,
    regularization: float,
    weight: float,
    epochs: int,
) -> np.ndarray:
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    data = from_interactions_df(train[["user_id", "item_id"]])
    model = ImplicitMFScorer(
        embedding_size=factors, regularization=regularization, weight=weight, epochs=epochs
    )
    model.train(data, TrainingOptions(rng=seed))
    own = np.asarray(model.user_embeddings) @ np.asarray(model.item_embeddings).T
    return _by_id(own, data.users.ids(), data.items.ids())


def _by_id(scores: np.ndarray, users: Any, items: Any) -> np.ndarray:
    """Scores in the order of a package's own ids, in ours."""
    found = np.full((N_USERS, N_ITEMS), -np.inf)
    found[np.ix_(np.asarray(users), np.asarray(items))] = scores
    return found
