"""How likely a new user knows an item, by which ones they did and did not know.

Dimension letters: n new users, m items, U training users.
"""

from __future__ import annotations

import numpy as np

from tabcf.contracts.selector import PastAnswers

__all__ = ["Knowledge"]

# Numbers of the matrix of who had what: 64 MB. Of more training users a sample stands for all.
_BUDGET = 1 << 24
_MOST_USERS = 10_000


class Knowledge:
    """A new user is taken to be like some training user, nobody knows which one.

    Each training user u is believed in by how well their items agree with what the new user knew
    and did not know; an item is known as likely as those believed in had it. A new user who is like
    u knows item i with probability `(1 - s) [u had i] + s p_i`, where p_i is the share of all who
    had it and s the smoothing: nobody is quite like somebody else. This is a mixture with one
    component a training user, in closed form.

    Args:
        past: What training users had.
        places: `(m,)` the items in question, as places in `past.items`.
        smoothing: s, in (0, 1]; at 1 everybody is like the average.

    Example: three users had (a, b), (a, b) and (c). Somebody who knows a is like the first two,
    whatever the smoothing below 1, so that b becomes likelier and c less likely.
    """

    def __init__(self, past: PastAnswers, places: np.ndarray, *, smoothing: float) -> None:
        n_users = min(past.n_users, _MOST_USERS, max(_BUDGET // max(len(places), 1), 1))
        rng = np.random.default_rng(past.seed)
        drawn = rng.permutation(past.n_users)[:n_users]
        number = np.full(past.n_users, -1)
        number[drawn] = np.arange(n_users)
        column = np.full(len(past.items), -1)
        column[places] = np.arange(len(places))
        user, item = number[past.user], column[past.item]
        is_used = (user >= 0) & (item >= 0)
        self._had = np.zeros((n_users, len(places)), dtype=np.float32)
        self._had[user[is_used], item[is_used]] = 1.0
        counts = np.bincount(past.item, minlength=len(past.items))[places]
        # Half a user more on either side, so that no share is 0 or 1.
        share = ((counts + 0.5) / (past.n_users + 1)).astype(np.float32)
        chance = (1 - smoothing) * self._had + smoothing * share
        self._log_knows = np.log(chance)
        self._log_knows_not = np.log1p(-chance)

    def __call__(self, knows: np.ndarray, knows_not: np.ndarray) -> np.ndarray:
        """`(n, m)` probabilities.

        Args:
            knows: `(n, m)` booleans: which items each user was asked about and knew.
            knows_not: `(n, m)` booleans: which they were asked about and did not know.
        """
        log_belief = knows.astype(np.float32) @ self._log_knows.T
        log_belief += knows_not.astype(np.float32) @ self._log_knows_not.T
        belief = np.exp(log_belief - log_belief.max(1, keepdims=True))
        probability: np.ndarray = belief / belief.sum(1, keepdims=True) @ self._had
        return probability
