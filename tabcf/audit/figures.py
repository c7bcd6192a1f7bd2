"""Figures of lists and choices: how unequal, how alike, how far from what was.

Dimension letters: U users, I items, K places of a list, M interactions, A kinds.
"""

from __future__ import annotations

import numpy as np

from tabcf.audit.population import Population

__all__ = ["divergence", "gini", "jaccard", "kind_shares", "list_figures"]

# Added to counts of kinds, so that a divergence is finite where a user had nothing of a kind.
_SMOOTHING = 0.01


def gini(counts: np.ndarray) -> float:
    """How unequally something is spread: 0 evenly, near 1 all on one.

    Example:
        >>> gini(np.array([1, 1, 1])), round(gini(np.array([0, 0, 3])), 3)
        (0.0, 0.667)
    """
    ordered = np.sort(counts.astype(np.float64))
    n, total = len(ordered), ordered.sum()
    if not n or not total:
        return 0.0
    return float(2 * (np.arange(1, n + 1) * ordered).sum() / (n * total) - (n + 1) / n)


def jaccard(taken: np.ndarray) -> float:
    """Mean over pairs of users of the items that both took, over those that either took.

    Pairs of two who took nothing are left out.

    Args:
        taken: `(U, I)` booleans.

    Example:
        >>> round(jaccard(np.array([[True, True, False], [False, True, True]])), 3)
        0.333
    """
    had = taken.astype(np.float32)
    counts = had.sum(1)
    both = had @ had.T
    either = counts[:, None] + counts - both
    is_pair = (either > 0) & ~np.eye(len(had), dtype=bool)
    return float((both[is_pair] / either[is_pair]).mean()) if is_pair.any() else 0.0


def kind_shares(had: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """`(U, A)`: how each user's items `had` `(U, I)` divide among kinds `(I, A)`, smoothed."""
    counts = had.astype(np.float64) @ kinds + _SMOOTHING
    shares: np.ndarray = counts / counts.sum(1, keepdims=True)
    return shares


def divergence(now: np.ndarray, before: np.ndarray, is_counted: np.ndarray) -> float:
    """Mean over the users who count of KL(now ‖ before), in nats; shares are `(U, A)`."""
    if not is_counted.any():
        return float("nan")
    each = (now * np.log(now / before)).sum(1)
    return float(each[is_counted].mean())


def list_figures(population: Population, lists: np.ndarray) -> dict[str, float]:
    """What one round's lists `(U, K)`, -1 in empty places, are like beside first interactions.

    `gini(lists)`, `coverage`, `popularity`, and each group's two amplifications, as `LoopResult`
    says.
    """
    n_items = population.utility.shape[1]
    listed = lists[lists >= 0]
    shown = np.bincount(listed, minlength=n_items)
    first = np.bincount(population.items, minlength=n_items)
    figures = {
        "gini(lists)": gini(shown),
        "coverage": float((shown > 0).mean()),
        "popularity": _ratio(first[listed], first[population.items]),
    }
    for group in population.groups:
        for name, chosen in (("", ~group.members), (", members", group.members)):
            own = lists[chosen]
            figures[f"amplification({group.name}{name})"] = _ratio(
                group.items[own[own >= 0]],
                group.items[population.items[chosen[population.users]]],
            )
    return figures


def _ratio(of_lists: np.ndarray, of_data: np.ndarray) -> float:
    """Mean over mean; NaN where there is none, or the second is 0."""
    if not len(of_lists) or not len(of_data) or not of_data.mean():
        return float("nan")
    return float(of_lists.mean() / of_data.mean())
