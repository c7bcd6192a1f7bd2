"""Which columns a model receives, in which order and on which side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CategoricalColumn", "ContinuousColumn", "Layout", "SetColumn", "Side"]

Side = Literal["user", "item", "event"]


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """A column of indices in `range(cardinality)`; index 0 is the unknown value.

    `entity` is the entity's name where the column holds that entity's own ids. `n_fitted` is the
    cardinality that the model was fitted with, where rows came later; sizes that a model takes
    from a cardinality, such as a default width, go by it.
    """

    name: str
    side: Side
    cardinality: int
    entity: str | None = None
    n_fitted: int | None = None


@dataclass(frozen=True, slots=True)
class ContinuousColumn:
    """A column of normalised numbers."""

    name: str
    side: Side


@dataclass(frozen=True, slots=True)
class SetColumn:
    """A column of sets of indices in `range(cardinality)`; index 0 is the unknown value.

    `n_fitted` is as in `CategoricalColumn`.
    """

    name: str
    side: Side
    cardinality: int
    n_fitted: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of `x_cat`, `x_cont` and `x_sets`, each ordered user, item, event."""

    categorical: tuple[CategoricalColumn, ...] = ()
    continuous: tuple[ContinuousColumn, ...] = ()
    sets: tuple[SetColumn, ...] = ()

    @property
    def user(self) -> int | None:
        """Position of the user ids in `x_cat`, if there are users."""
        return self._position("user")

    @property
    def item(self) -> int | None:
        """Position of the item ids in `x_cat`, if there are items."""
        return self._position("item")

    @property
    def cardinalities(self) -> dict[str, int]:
        """The number of values of each categorical and set column, the unknown one included."""
        return {
            **{column.name: column.cardinality for column in self.categorical},
            **{column.name: column.cardinality for column in self.sets},
        }

    @property
    def has_event_columns(self) -> bool:
        """Whether any column belongs to the event itself."""
        sides = [
            *(column.side for column in self.categorical),
            *(column.side for column in self.continuous),
            *(column.side for column in self.sets),
        ]
        return "event" in sides

    def _position(self, entity: str) -> int | None:
        for position, column in enumerate(self.categorical):
            if column.entity == entity:
                return position
        return None
