"""The numbers of all steps taken, from which what a row missed follows at once.

`tabcf.training.store.replay` says how. Nothing is known of the steps to come, so that the sums from
each of the last steps on grow with every step. What a step adds falls off like
(β1 / (√β2 · keep))^k; from `REACH` steps on it is left out.

Dimension letters: T steps taken so far, K different decays, W steps within reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tabcf.training.steps import Rate
from tabcf.training.store.replay import Missed, nodes

__all__ = ["REACH", "Ledger", "Step"]

REACH = 1024
"""Steps after which a step's momentum no longer moves a row."""

_Doubles = NDArray[np.float64]


class Step(NamedTuple):
    """The numbers of one step of AdamW.

    Attributes:
        size: The learning rate times the correction of the root for its early bias, over that of
            the mean.
        eps: eps times the correction of the root.
        beta1: The step's first beta.
        beta2: The second.
        keep: `(K,)`: 1 less learning rate times decay.
    """

    size: float
    eps: float
    beta1: float
    beta2: float
    keep: _Doubles


class Ledger:
    """The steps taken, numbered from 1; step 0 is the beginning.

    Args:
        decays: The different weight decays.
        beta2: As in AdamW.
        eps: As in AdamW.
    """

    def __init__(self, decays: Sequence[float], *, beta2: float, eps: float) -> None:
        self.t = 0
        self._decays = np.array(decays)
        self._beta2, self._eps = beta2, eps
        n = len(decays)
        self._log_keep = np.zeros((n, REACH))
        self._log_beta = np.zeros(REACH)
        # Of w·x^0 … w·x^3, over the product of keep, x in units of eps.
        self._sums = np.zeros((n, 4, REACH))
        # Products of β1, over those of keep, of the steps after each of the last ones.
        self._ratio = np.ones((n, REACH))
        fades = beta2 ** (np.arange(REACH, 0, -1) / 2)
        self._inverse_fades = 1 / fades

    @property
    def n_decays(self) -> int:
        return len(self._decays)

    def add(self, rate: Rate) -> Step:
        """Take down another step."""
        t = self.t + 1
        if t == len(self._log_beta):
            self._grow()
        first = 1 - rate.beta1**t
        correction = math.sqrt(1 - self._beta2**t)
        keep = 1 - self._decays * rate.learning_rate
        size = rate.learning_rate * correction / first
        n = min(t, REACH)
        ratio = self._ratio[:, :n]
        if t > REACH:  # the one that is now out of reach makes room
            ratio[:, :-1] = ratio[:, 1:].copy()
        ratio[:, -1] = 1.0
        ratio *= (rate.beta1 / keep)[:, None]
        sums = self._sums[:, :, t - n : t]
        inverse_fades = self._inverse_fades[REACH - n :]
        x = correction * inverse_fades
        term = size * ratio * inverse_fades
        for power in range(4):
            sums[:, power] += term
            term *= x
        self._log_keep[:, t] = self._log_keep[:, t - 1] + np.log(keep)
        self._log_beta[t] = self._log_beta[t - 1] + math.log(max(rate.beta1, 1e-30))
        self.t = t
        return Step(size, self._eps * correction, rate.beta1, self._beta2, keep)

    def missed(self, own: NDArray[np.integer] | int, since: NDArray[np.integer]) -> Missed:
        """What rows missed that were last brought up to some steps.

        Args:
            own: Which of the decays is whose.
            since: The steps, of the same shape.
        """
        t = self.t
        kept = np.exp(self._log_keep[own, t] - self._log_keep[own, since])
        sums = [self._sums[own, power, since] for power in range(4)]
        first, second, a, b = nodes(*sums)
        numbers = (
            kept,
            kept * first,
            kept * second * self._eps,
            a * self._eps,
            b * self._eps,
            np.exp(self._log_beta[t] - self._log_beta[since]),
            self._beta2 ** ((t - since) / 2),
        )
        return Missed(*(number.astype(np.float32) for number in numbers))

    def state(self) -> dict[str, Tensor]:
        """All that later steps need, as views that go on changing."""
        n = self.t + 1
        return {
            "t": torch.tensor(self.t),
            "ratio": torch.from_numpy(self._ratio),
            "log_beta": torch.from_numpy(self._log_beta[:n]),
            "log_keep": torch.from_numpy(self._log_keep[:, :n]),
            "sums": torch.from_numpy(self._sums[:, :, :n]),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from such a state."""
        self.t = int(state["t"])
        while len(self._log_beta) <= self.t:
            self._grow()
        own = self.state()
        for name in ("ratio", "log_beta", "log_keep", "sums"):
            own[name].copy_(state[name])

    def _grow(self) -> None:
        """Make room for as many steps again."""
        for name in ("_log_keep", "_log_beta", "_sums"):
            own: _Doubles = getattr(self, name)
            setattr(self, name, np.concatenate([own, np.zeros_like(own)], -1))
