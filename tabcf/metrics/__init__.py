"""What predictions and ranked lists are worth: pure functions of tensors, in float64."""

from __future__ import annotations

from tabcf.metrics.catalogue import (
    calibration_kl,
    coverage_at_k,
    diversity_at_k,
    gini_at_k,
    novelty_at_k,
    popularity_at_k,
    serendipity_at_k,
)
from tabcf.metrics.classification import accuracy, auc, log_loss
from tabcf.metrics.levels import (
    calibration_error,
    interval_coverage,
    level_coverage,
    level_numbers,
)
from tabcf.metrics.lists import (
    hit_rate_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from tabcf.metrics.ranking import rank_items, rank_relevant
from tabcf.metrics.ranks import list_auc
from tabcf.metrics.regression import mae, rmse
from tabcf.metrics.sampled import sampled_ndcg_at_k, sampled_recall_at_k

__all__ = [
    "accuracy",
    "auc",
    "calibration_error",
    "calibration_kl",
    "coverage_at_k",
    "diversity_at_k",
    "gini_at_k",
    "hit_rate_at_k",
    "interval_coverage",
    "level_coverage",
    "level_numbers",
    "list_auc",
    "log_loss",
    "mae",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "novelty_at_k",
    "popularity_at_k",
    "precision_at_k",
    "rank_items",
    "rank_relevant",
    "recall_at_k",
    "rmse",
    "sampled_ndcg_at_k",
    "sampled_recall_at_k",
    "serendipity_at_k",
]
