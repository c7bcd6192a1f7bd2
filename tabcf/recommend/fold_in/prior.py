"""What a row is like before anything is known of it, learnt from the trained rows."""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.recommend.fold_in.solver import Prior

__all__ = ["prior_of_rows"]

# A row with n events counts n / (n + 10): training hardly moved those with few.
_STRENGTH = 10.0


def prior_of_rows(rows: Tensor, n_events: Tensor) -> Prior:
    """The unknown value's row as the mean, and the trained rows' spread about it.

    The spread is a full covariance, drawn towards its diagonal where there are few rows for their
    width P: by a share P / (rows + P).

    Args:
        rows: `(n, P)` float64, the unknown value's row first.
        n_events: `(n,)` training events of each.
    """
    mean, off = rows[0], rows[1:] - rows[0]
    weight = n_events[1:].double() / (n_events[1:] + _STRENGTH)
    total = weight.sum().clamp_min(1e-12)
    width = rows.shape[1]
    covariance = (off * weight[:, None]).T @ off / total
    towards = width / (float(total) + width)
    diagonal = covariance.diagonal()
    # A number that never varied stays where it is, and is not divided by 0.
    floor = 1e-6 * diagonal.mean().clamp_min(1e-12)
    covariance = (1 - towards) * covariance + towards * torch.diag(diagonal)
    covariance += torch.diag(floor.expand(width))
    return Prior(mean, torch.linalg.inv(covariance))
