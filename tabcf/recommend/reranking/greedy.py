"""Orders that are made place by place, each place by what stands above it.

All give `(B, K)` int64 places of the given items, -1 behind the end of a short list. Scores are
`(B, N)`, -inf where a list is short; they are scaled to [0, 1] within each user's list, so that a
strength means the same for every model.

Dimension letters: B users, N items, K places of the new list, A values of an attribute, E width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["calibrated", "mmr", "scaled", "xquad"]

# Weight of the user's own distribution within the list's, which keeps divergences finite.
_ALPHA = 0.01


def mmr(scores: Tensor, vectors: Tensor, *, strength: float, k: int) -> Tensor:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998).

    Each place goes to the item with the highest

        (1 - strength) · score - strength · (largest cosine to an item above it)

    Args:
        scores: `(B, N)`.
        vectors: `(B, N, E)`: what items are compared by; zeros are like nothing.
        strength: From 0, the given order, to 1.
        k: K.

    Example:
        >>> vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> mmr(torch.tensor([[3.0, 2.0, 1.0]]), vectors, strength=0.5, k=3)
        tensor([[0, 2, 1]])
    """
    relevance = (1 - strength) * scaled(scores)
    directions = torch.nn.functional.normalize(vectors.to(relevance.dtype), dim=2)
    closest = torch.full_like(relevance, -torch.inf)
    users = torch.arange(len(scores))

    def gain(place: int, last: Tensor | None) -> Tensor:
        if last is None:
            return relevance
        own = directions[users, last]
        cosines = (directions @ own.unsqueeze(2)).squeeze(2)
        torch.maximum(closest, cosines, out=closest)
        return relevance - strength * closest

    return _greedy(scores, gain, k)


def xquad(
    scores: Tensor,
    aspects: Tensor,
    wanted: Tensor,
    *,
    strength: float,
    k: int,
    is_smooth: bool = False,
) -> Tensor:
    """Explicit diversification over aspects (Santos et al., 2010).

    Each place goes to the item i with the highest

        (1 - strength) · score + strength · Σ_a wanted_a · aspect_ia · novelty_a

    where the novelty of an aspect is Π_j (1 - aspect_ja) over the items j above. With the two
    aspects head and tail of popularity this is the long-tail re-ranking of Abdollahpouri et al.
    (2019), in which one item of an aspect ends its novelty. With `is_smooth`, their second form,
    it is 1 less the share of the items above that have the aspect.

    Args:
        scores: `(B, N)`.
        aspects: `(B, N, A)` in [0, 1].
        wanted: `(B, A)`: how much each user wants of each aspect.
        strength: From 0, the given order, to 1.
        k: K.
        is_smooth: Which novelty.
    """
    relevance = (1 - strength) * scaled(scores)
    aspects, wanted = aspects.to(relevance.dtype), wanted.to(relevance.dtype)
    novelty, listed = torch.ones_like(wanted), torch.zeros_like(wanted)
    users = torch.arange(len(scores))

    def gain(place: int, last: Tensor | None) -> Tensor:
        if last is not None:
            own = aspects[users, last]
            listed.add_(own)
            novelty.copy_(1 - listed / place if is_smooth else novelty * (1 - own))
        return relevance + strength * (aspects @ (wanted * novelty).unsqueeze(2)).squeeze(2)

    return _greedy(scores, gain, k)


def calibrated(scores: Tensor, aspects: Tensor, had: Tensor, *, strength: float, k: int) -> Tensor:
    """Lists whose attribute is spread as in the user's past (Steck, 2018).

    Each place goes to the item that makes the list so far best:

        (1 - strength) · Σ scores - strength · KL(p || 0.99 q + 0.01 p)

    with p, how the attribute is spread over the user's past, and q, over the list.

    Args:
        scores: `(B, N)`.
        aspects: `(B, N, A)`: each item's weight of 1, spread over its values; zeros for none.
        had: `(B, A)`: p; zeros where it is unknown, whose order stays as it is.
        strength: From 0, the given order, to 1.
        k: K.

    Example:
        >>> genres = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> past = torch.tensor([[0.5, 0.5]])
        >>> calibrated(torch.tensor([[3.0, 2.0, 1.0]]), genres, past, strength=0.8, k=2)
        tensor([[0, 2]])
    """
    relevance = (1 - strength) * scaled(scores)
    aspects, p = aspects.to(relevance.dtype), had.to(relevance.dtype)
    listed = torch.zeros_like(p)
    own_entropy = torch.xlogy(p, p).sum(1, keepdim=True)
    users = torch.arange(len(scores))

    def gain(place: int, last: Tensor | None) -> Tensor:
        if last is not None:
            listed.add_(aspects[users, last])
        with_item = listed.unsqueeze(1) + aspects
        total = with_item.sum(2, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny)
        q = with_item / total * (1 - _ALPHA) + _ALPHA * p.unsqueeze(1)
        divergence = own_entropy - torch.xlogy(p.unsqueeze(1), q).sum(2)
        return relevance - strength * divergence

    return _greedy(scores, gain, k)


def scaled(scores: Tensor) -> Tensor:
    """`(B, N)` float64: each user's scores from 0 to 1; 0 where all are equal or there is none.

    Example:
        >>> scaled(torch.tensor([[5.0, 4.0, 3.0], [2.0, 2.0, -torch.inf]]))
        tensor([[1.0000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    own = scores.double()
    is_there = own > -torch.inf
    low = own.masked_fill(~is_there, torch.inf).amin(1, keepdim=True)
    span = (own.amax(1, keepdim=True) - low).nan_to_num(0.0)
    # The smallest normal number in place of 0 makes a quotient of 0.
    found = (own - low) / span.clamp_min(torch.finfo(own.dtype).tiny)
    return found.masked_fill(~is_there, 0.0)


def _greedy(scores: Tensor, gain: Callable[[int, Tensor | None], Tensor], k: int) -> Tensor:
    """Fill k places from the top; `gain(place, last)` values all items, given the last choice."""
    is_left = scores > -torch.inf
    chosen = []
    last: Tensor | None = None
    for place in range(min(k, scores.shape[1])):
        value = gain(place, last).masked_fill(~is_left, -torch.inf)
        last = value.argmax(1)
        chosen.append(last.masked_fill(~is_left.any(1), -1))
        is_left = is_left.scatter(1, last.unsqueeze(1), False)
    return torch.stack(chosen, 1)
