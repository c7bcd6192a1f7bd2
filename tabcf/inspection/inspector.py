"""All that can be seen inside one run, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tabcf.contracts.table import Table
from tabcf.inspection.biases import bias_gaps, bias_table
from tabcf.inspection.calibration import calibration
from tabcf.inspection.course import epoch_table, schedule_table, share_kept, weight_table
from tabcf.inspection.crosstab import Crosstab, crosstab
from tabcf.inspection.factors import (
    Factors,
    latent_factors,
    neighbours_by,
    vector_map,
    vector_norms,
)
from tabcf.inspection.layers import Summary, summarise
from tabcf.inspection.why import Explanation, explain
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.trained import Trained
from tabcf.training.loop import EpochReport

__all__ = ["Course", "Inspector"]


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of how a model was trained; nothing of one that was solved.

    Attributes:
        epochs: One report an epoch.
        schedule: Maps progress in [0, 1] to a factor of the learning rate and a first beta.
        learning_rate: The highest.
        n_steps: Steps of the whole training.
        decay: Weight decay by column, `default` for those not named.
    """

    epochs: Sequence[EpochReport]
    schedule: Callable[[float], tuple[float, float | None]]
    learning_rate: float
    n_steps: int
    decay: Mapping[str, float]


class Inspector:
    """A run's layers, factors, biases, predictions and training, as frames.

    Args:
        trained: The model.
        course: How it was trained.
        fold_in: Gives what finds a user's row anew, None for models without such rows.
        encode: Turns rows with the target into a table.
        mean_targets: Each entity's mean target by row.
    """

    def __init__(
        self,
        trained: Trained,
        course: Course,
        *,
        fold_in: Callable[[str], FoldIn | None],
        encode: Callable[[Any], Table],
        mean_targets: Mapping[str, Any],
    ) -> None:
        self._trained = trained
        self._course = course
        self._fold_in = fold_in
        self._encode = encode
        self._mean_targets = mean_targets

    def layers(self) -> Summary:
        """Every parameter: module, shape, share of all, and the columns that it belongs to."""
        return summarise(self._trained.model, self._trained.encoder.layout)

    def crosstab(
        self, users: int | Iterable[Any] = 12, items: int | Iterable[Any] = 12
    ) -> Crosstab:
        """Users down and items across: known targets, and predictions in the empty cells."""
        return crosstab(self._trained, users, items)

    def biases(self, entity: str = "item") -> pd.DataFrame:
        """Trained biases, highest first, beside mean target and number of events."""
        return bias_table(self._trained, entity, mean_target=self._mean_targets.get(entity))

    def bias_gaps(self, entity: str = "item", *, min_count: int = 20) -> pd.DataFrame:
        """Where bias and mean target disagree most, and why: who gave it."""
        return bias_gaps(self._trained, entity, min_count=min_count)

    def factors(self, entity: str = "item", *, axes: int = 4, k: int = 10) -> Factors:
        """The directions in which vectors differ most, who is at their ends, what goes along."""
        return latent_factors(self._trained, entity, axes=axes, k=k)

    def map(self, entity: str = "item") -> pd.DataFrame:
        """Everyone's place on the plane of the two strongest directions."""
        return vector_map(self._trained, entity)

    def norms(self, entity: str = "item") -> pd.DataFrame:
        """Lengths of vectors beside numbers of events; which are hardly trained."""
        return vector_norms(self._trained, entity)

    def neighbours(
        self, entity: str, id: Any, k: int = 10, *, is_text: bool = False
    ) -> pd.DataFrame:
        """The nearest by cosine, dot product and distance, side by side."""
        return neighbours_by(self._trained, entity, id, k, is_text=is_text)

    def why(self, user: Any, item: Any, *, is_text: bool = False) -> Explanation:
        """What one score is made of: terms, past items that push it, users alike."""
        return explain(self._trained, self._fold_in("user"), user, item, is_text=is_text)

    def epochs(self) -> pd.DataFrame:
        """Losses, validation metrics and learning rate by epoch."""
        return epoch_table(self._course.epochs)

    def schedule(self) -> pd.DataFrame:
        """The learning rate over the training."""
        return schedule_table(self._course.schedule, self._course.learning_rate)

    def weights(self) -> pd.DataFrame:
        """How large each column's rows are, and what weight decay alone would have left."""
        course = self._course
        kept = share_kept(course.schedule, course.learning_rate, course.n_steps, course.decay)
        return weight_table(self._trained, kept if course.epochs else None)

    def calibration(self, data: Any, *, n_bins: int = 10) -> pd.DataFrame:
        """Predicted against actual on held rows, overall and by popularity."""
        return calibration(self._trained, self._encode(data), n_bins=n_bins)
