"""Which of a model's columns belong to the user, the item and the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.layout import Side
from tabcf.errors import DataError

__all__ = ["SIDES", "Columns", "Sides"]

SIDES: tuple[Side, ...] = ("user", "item", "event")


class Columns(NamedTuple):
    """Positions in `x_cat`, `x_cont` and `x_sets`."""

    cat: list[int]
    cont: list[int]
    sets: list[int]


@dataclass(frozen=True, slots=True)
class Sides:
    """One side a categorical column, a continuous feature and a set column."""

    cat: tuple[Side, ...]
    cont: tuple[Side, ...]
    sets: tuple[Side, ...]

    @classmethod
    def of(
        cls,
        n_cat: int,
        n_cont: int,
        n_sets: int,
        *,
        user: int,
        item: int,
        cat: Sequence[Side] | None,
        cont: Sequence[Side] | None,
        sets: Sequence[Side] | None,
    ) -> Sides:
        """Sides as given; by default the user's, the item's, and else the event's."""
        for role, position in (("user", user), ("item", item)):
            if not 0 <= position < n_cat:
                raise DataError(f"{role}: expected a column of 0 to {n_cat - 1}, got {position}")
        if user == item:
            raise DataError(f"user and item are both column {user}")
        if cat is None:
            named: dict[int, Side] = {user: "user", item: "item"}
            cat = [named.get(position, "event") for position in range(n_cat)]
        default: list[Side] = ["event"]
        found = cls(
            tuple(cat),
            tuple(cont if cont is not None else default * n_cont),
            tuple(sets if sets is not None else default * n_sets),
        )
        for name, sides, n in (
            ("cat_sides", found.cat, n_cat),
            ("cont_sides", found.cont, n_cont),
            ("set_sides", found.sets, n_sets),
        ):
            if len(sides) != n:
                raise DataError(f"{name}: expected one for each of {n} columns, got {len(sides)}")
            unknown = [side for side in sides if side not in SIDES]
            if unknown:
                raise DataError(f"{name}: expected user, item or event, got {unknown[0]!r}")
        for role, position in (("user", user), ("item", item)):
            if found.cat[position] != role:
                raise DataError(
                    f"cat_sides: column {position} holds the {role} ids, but its side is "
                    f"'{found.cat[position]}'"
                )
        return found

    def columns(self, *sides: Side) -> Columns:
        """Positions of some sides' categorical, continuous and set columns."""
        return Columns(
            [i for i, own in enumerate(self.cat) if own in sides],
            [i for i, own in enumerate(self.cont) if own in sides],
            [i for i, own in enumerate(self.sets) if own in sides],
        )

    def check(self, inputs: Inputs, side: Side) -> None:
        """Raise `DataError` unless the inputs hold just this side's columns."""
        for name, given, own in (
            ("x_cat", inputs.x_cat.shape[1], self.cat),
            ("x_cont", inputs.x_cont.shape[1], self.cont),
            ("x_sets", len(inputs.x_sets), self.sets),
        ):
            if given != own.count(side):
                raise DataError(
                    f"{side} side: {name} has {given} columns, but the model has {own.count(side)}"
                )
