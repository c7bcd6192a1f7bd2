"""Orders that leave something to chance, and how likely each item was to come to its place.

The propensity of an item at a place is the probability, over all draws, that it comes to just that
place of the list, whatever stands above it. Both are exact but for rounding; nothing is counted
from draws.

Dimension letters: B users, N items, K places, Q points at which an integral is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

__all__ = ["Explored", "epsilon_greedy", "place_chances", "rank_chances", "thompson"]

# Points of the integral, over this many standard deviations to either side.
_POINTS, _REACH = 128, 5.0
# Numbers of a block of users: 32 MB.
_BLOCK = 1 << 22


class Explored(NamedTuple):
    """A list that came by chance.

    Shape:
        places: `(B, K)` int64 places of the given items, -1 behind the end of a short list.
        propensities: `(B, K)` float64; NaN there.
    """

    places: Tensor
    propensities: Tensor


def epsilon_greedy(scores: Tensor, *, epsilon: float, k: int, rng: Generator) -> Explored:
    """Each place goes to the best item that is left or, with probability epsilon, to any of them.

    Args:
        scores: `(B, N)`, falling; -inf where a list is short.
        epsilon: The share of places that are drawn, each item that is left being as likely.
        k: K.
        rng: Where the draws come from.
    """
    is_left = scores > -torch.inf
    n_items = is_left.sum(1)
    n_users, n = scores.shape
    k = min(k, n)
    chosen = []
    for _ in range(k):
        best = is_left.to(torch.int8).argmax(1)
        drawn = torch.rand(n_users, n, generator=rng).masked_fill(~is_left, -1.0).argmax(1)
        is_drawn = torch.rand(n_users, generator=rng) < epsilon
        last = torch.where(is_drawn, drawn, best)
        chosen.append(last.masked_fill(~is_left.any(1), -1))
        is_left = is_left.scatter(1, last.unsqueeze(1), False)
    places = torch.stack(chosen, 1)
    propensities = torch.full((n_users, k), torch.nan, dtype=torch.float64)
    for size in n_items.unique().tolist():
        own = n_items == size
        width = min(k, size)
        table = place_chances(size, width, epsilon)
        propensities[own, :width] = table[places[own, :width], torch.arange(width)]
    return Explored(places, propensities)


def place_chances(n: int, k: int, epsilon: float) -> Tensor:
    """`(n, k)` float64: how likely the item at each given place is to come to each new one.

    What matters to an item that is still left is how many better ones are left too: with a of them
    among m, the best is taken in place of it unless a is 0, and each of the m is drawn with
    probability epsilon / m. The chances of each a are carried from place to place.

    Example (two items; the better one stays first unless the other is drawn):
        >>> place_chances(2, 2, 0.5)
        tensor([[0.7500, 0.2500],
                [0.2500, 0.7500]], dtype=torch.float64)
    """
    # (n, n): that an item is still left, by how many better ones are.
    left = torch.eye(n, dtype=torch.float64)
    better = torch.arange(n, dtype=torch.float64)
    has_better = (better > 0).double()
    found = []
    for place in range(k):
        m = n - place
        found.append((left * ((1 - has_better) * (1 - epsilon) + epsilon / m)).sum(1))
        to_fewer = left * (has_better * (1 - epsilon) + epsilon * better / m)
        stays = left * (epsilon * (m - 1 - better).clamp_min(0) / m)
        left = stays
        left[:, :-1] += to_fewer[:, 1:]
    return torch.stack(found, 1) if found else left[:, :0]


def thompson(scores: Tensor, spread: Tensor, *, k: int, rng: Generator) -> Explored:
    """Each item is ranked by one draw of what its score may be (Thompson, 1933).

    Scores are taken as independent and normal, each with its own standard deviation.

    Args:
        scores: `(B, N)`, -inf where a list is short.
        spread: `(B, N)` standard deviations, in the scores' units.
        k: K.
        rng: Where the draws come from.
    """
    noise = torch.randn(scores.shape, generator=rng, dtype=torch.float64)
    is_there = scores > -torch.inf
    drawn = (scores.double() + spread * noise).masked_fill(~is_there, -torch.inf)
    best, places = drawn.topk(min(k, scores.shape[1]), dim=1)
    places = places.masked_fill(best == -torch.inf, -1)
    return Explored(places, rank_chances(scores, spread, places))


def rank_chances(scores: Tensor, spread: Tensor, places: Tensor) -> Tensor:
    """`(B, K)` float64: how likely the listed items are to be ranked just where they are.

    An item's score x has a normal density; the number of others above x is a sum of independent
    ones and zeros, whose distribution is built up one item at a time. The chance of r others above
    is integrated over x at 128 points within 5 standard deviations.

    Args:
        scores: `(B, N)`: means, -inf where a list is short.
        spread: `(B, N)`: standard deviations.
        places: `(B, K)`: which item is listed at each place, -1 for none.

    Example:
        >>> means, ones = torch.zeros(1, 2), torch.ones(1, 2)
        >>> rank_chances(means, ones, torch.tensor([[1, 0]]))
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    n_users, k = places.shape
    size = max(_BLOCK // (k * k * _POINTS), 1)
    parts = [
        _rank_chances(scores[rows].double(), spread[rows].double(), places[rows])
        for rows in torch.arange(n_users).split(size)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, k, dtype=torch.float64)


def _rank_chances(means: Tensor, spread: Tensor, places: Tensor) -> Tensor:
    n_users, k = places.shape
    z = torch.linspace(-_REACH, _REACH, _POINTS, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square())
    own = places.clamp_min(0)
    # (B, K, Q): the scores that each listed item may have.
    x = means.gather(1, own).unsqueeze(2) + spread.gather(1, own).unsqueeze(2) * z
    x = x.nan_to_num(0.0, neginf=0.0)
    # (B, K, Q, r): that r of the others looked at so far are above, for r below K.
    above = torch.zeros(n_users, k, _POINTS, k, dtype=torch.float64)
    above[..., 0] = 1.0
    for item in range(means.shape[1]):
        mean, deviation = means[:, item, None, None], spread[:, item, None, None]
        deviation = deviation.clamp_min(1e-12)
        chance = torch.special.ndtr((mean - x) / deviation)
        chance = chance.masked_fill((own == item).unsqueeze(2), 0.0).unsqueeze(3)
        rest = above * (1 - chance)
        rest[..., 1:] += above[..., :-1] * chance
        above = rest
    at_rank = torch.arange(k).expand(n_users, k)[:, :, None, None].expand(-1, -1, _POINTS, 1)
    chances = above.gather(3, at_rank).squeeze(3)
    found = (chances * density).sum(2) / density.sum()
    return found.masked_fill(places < 0, torch.nan)
