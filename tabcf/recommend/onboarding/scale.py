"""How an answer is given, and which number it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tabcf.contracts.target import TargetInfo
from tabcf.errors import DataError

__all__ = ["DISLIKE", "LIKE", "AnswerScale"]

LIKE, DISLIKE = "like", "dislike"


@dataclass(frozen=True, slots=True)
class AnswerScale:
    """The answers that a target allows, "don't know" apart.

    A rating is one of its levels, another number is a number, a binary target has its two labels,
    and an implicit one `like` and `dislike`.
    """

    target: TargetInfo

    @property
    def column(self) -> str:
        """The column of answers: the target's own, so that they are events of the run."""
        return self.target.columns[0] if self.target.columns else "answer"

    @property
    def choices(self) -> tuple[Any, ...]:
        """All answers, the best last; none where any number is one."""
        if self.target.kind == "rating":
            return self.target.levels
        if self.target.kind == "binary":
            return self.target.labels
        return (DISLIKE, LIKE) if self.target.kind == "implicit" else ()

    def checked(self, answer: Any) -> Any:
        """The answer as it is kept: a number, a label, `like` or `dislike`.

        Raises:
            DataError: It is none.
        """
        if self.target.kind in ("rating", "regression"):
            number = _number(answer)
            is_right = math.isfinite(number) and number in (self.target.levels or (number,))
            if is_right:
                return int(number) if number.is_integer() else number
        elif str(answer) in self.choices:
            return str(answer)
        shown = [f"{c:g}" if isinstance(c, float) else str(c) for c in self.choices]
        expected = f"one of {', '.join(shown)}" if shown else "a number"
        raise DataError(f"answer: expected {expected}, or None for don't know; got {answer!r}")

    def number(self, answer: Any) -> float:
        """What selectors see of a checked answer: the number, or 1 and 0 for the two choices."""
        if self.target.kind in ("binary", "implicit"):
            return float(self.choices.index(answer))
        return float(answer)

    def answer(self, number: float) -> Any:
        """The answer that a number in training events stands for."""
        if self.target.kind in ("binary", "implicit"):
            return self.choices[round(number)]
        return self.checked(number)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
