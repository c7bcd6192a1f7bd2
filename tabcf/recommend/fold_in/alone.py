"""One newcomer's most probable row by numpy: the steps of `solver`, for a row that is alone.

For matrices as small as one row's events need, numpy takes a fifth of the time that torch does, and
somebody who has just rated a film is waiting.

Dimension letters: M events, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tabcf.recommend.fold_in.solver import SHORTEST, STEPS, SURE, Prior

__all__ = ["Answers", "SquaredErrors", "solve_alone"]

# Outputs `(M,)` of a model at one row `(P,)` for all events, and their derivatives `(M, P)`;
# float64.
Answers = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class SquaredErrors(NamedTuple):
    """What events say of the row: squared errors, each with a curvature of its own.

    Shape:
        target: `(M,)`. twice: `(M,)` or `(1,)`, the curvatures by the outputs; both float64.
    """

    answers: Answers
    target: np.ndarray
    twice: np.ndarray


class _Point(NamedTuple):
    """What is to be lowered at a row, the step that is to lower it, and by how much it should."""

    height: float
    step: np.ndarray
    gain: float


def solve_alone(said: SquaredErrors, prior: Prior) -> np.ndarray:
    """`(P,)` float64: the row that makes events and prior together most probable.

    Damped Gauss-Newton steps from the prior's mean, taken and shortened as `solver.solve` does.
    """
    mean, precision, covariance = (
        part.numpy() for part in (prior.mean, prior.precision, prior.covariance)
    )

    def looked_at(row: np.ndarray) -> _Point:
        output, derivative = said.answers(row)
        error = output - said.target
        by_output = said.twice * error
        off = row - mean
        pull = precision @ off
        slope = by_output @ derivative + pull
        half = np.sqrt(said.twice)[:, None] * derivative
        if len(half) < len(row):
            # Woodbury's identity, as in `solver`.
            across = half @ covariance
            inner = across @ half.T
            inner.flat[:: len(inner) + 1] += 1
            direct = covariance @ slope
            step = across.T @ np.linalg.solve(inner, half @ direct) - direct
        else:
            step = -np.linalg.solve(half.T @ half + precision, slope)
        height = 0.5 * float(by_output @ error + pull @ off)
        return _Point(height, step, -0.5 * float(slope @ step))

    best, there, scale = mean, looked_at(mean), 1.0
    promised = there.gain
    for _ in range(STEPS):
        row = best + scale * there.step
        if promised <= SURE:
            return row
        found = looked_at(row)
        rise = found.height - there.height
        if rise <= 0:
            best, there, scale = row, found, 1.0
        else:
            shorter = there.gain * scale**2 / (rise + 2 * there.gain * scale)
            scale = min(max(shorter, SHORTEST * scale), 0.5 * scale)
        promised = there.gain * scale
    return best
