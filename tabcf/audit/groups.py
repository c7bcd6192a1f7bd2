"""Groups of users and of items whose share is watched.

Dimension letters: R rows of an entity table, row 0 standing for somebody unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabcf.data.attributes import attribute_of
from tabcf.errors import DataError
from tabcf.recommend.trained import Trained

__all__ = ["AuditGroup", "Groups", "groups_of", "heaviest", "item_shares"]

# A column of more different numbers is cut into bands, and one of more values has to be named.
_MOST_NUMBERS, _MOST_VALUES = 12, 50
_SIDES = ("user", "item")


@dataclass(frozen=True, slots=True)
class AuditGroup:
    """Some users, and how far each item is theirs.

    Attributes:
        name: Such as `item.genres=Horror`, `user.occupation=artist` or `found: Horror`.
        members: `(R,)` booleans by user row. Of a group of items, the heaviest users of it: the
            fewest who together have half of its events.
        items: `(R,)` by item row, in [0, 1]. Of a group of items 1 for each of them, else 0; of a
            group of users the members' share of the item's events.
    """

    name: str
    members: np.ndarray
    items: np.ndarray


class Groups(NamedTuple):
    """Groups, and how many were too small to be among them."""

    groups: tuple[AuditGroup, ...]
    n_small: int = 0


def groups_of(
    trained: Trained, names: Iterable[str] | None = None, *, min_share: float = 0.01
) -> Groups:
    """Groups by the values of attributes.

    Args:
        trained: A model of users and items.
        names: Such as `user.occupation`, a group for each value, or `item.genres=Horror`, that
            alone; by default all columns of both tables that have at most 50 values. Many numbers
            are cut into four bands.
        min_share: Groups with a smaller share of the training events are left out and counted,
            since chance would rule their figures; those named with their value never are.

    Raises:
        DataError: There is no such column or value.
    """
    groups: list[AuditGroup] = []
    n_small = 0
    for name in _defaults(trained) if names is None else names:
        column, equals, wanted = name.partition("=")
        found = _of_column(trained, column, most_values=_MOST_VALUES if names is None else None)
        if equals:
            own = [group for group in found if group.name == name]
            if not own:
                known = ", ".join(group.name.partition("=")[2] for group in found)
                raise DataError(f"group {name}: no value '{wanted}'; known: {known}")
            groups += own
            continue
        _, items = _events(trained)
        for group in found:
            share = group.items[items].mean() if len(items) else 0.0
            if share >= min_share and share > 0:
                groups.append(group)
            else:
                n_small += 1
    return Groups(tuple(groups), n_small)


def item_shares(trained: Trained, members: np.ndarray) -> np.ndarray:
    """`(R,)` by item row: members' share of each item's events; 0 of an item without any."""
    users, items = _events(trained)
    n = len(trained.encoder.entities["item"])
    total = np.bincount(items, minlength=n)
    own = np.bincount(items[members[users]], minlength=n)
    return np.divide(own, total, out=np.zeros(n), where=total > 0)


def heaviest(counts: np.ndarray) -> np.ndarray:
    """`(R,)` booleans: the fewest rows that together have half of what is counted.

    Example:
        >>> heaviest(np.array([0, 1, 5, 2, 1]))
        array([False, False,  True, False, False])
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[order] = (before < counts.sum() / 2) & (counts[order] > 0)
    return chosen


def _of_column(trained: Trained, name: str, *, most_values: int | None) -> list[AuditGroup]:
    """A group for each value of a column; none where there are more values than that."""
    side, _, column = name.partition(".")
    if side not in _SIDES or not column:
        known = ", ".join([*_defaults(trained)]) or "none"
        raise DataError(
            f"group {name}: expected such as user.occupation or item.genres; columns: {known}"
        )
    source = trained.encoder.entities[side].with_blank_row()
    attribute = attribute_of(source, column, most_numbers=_MOST_NUMBERS)
    if most_values is not None and len(attribute.values) > most_values:
        return []
    users, items = _events(trained)
    n_users = len(trained.encoder.entities["user"])
    groups = []
    for place, value in enumerate(attribute.values):
        own = np.zeros(attribute.n_rows, dtype=bool)
        own[attribute.rows[attribute.places == place]] = True
        if side == "user":
            group = AuditGroup(f"{name}={value}", own, item_shares(trained, own))
        else:
            counts = np.bincount(users[own[items]], minlength=n_users)
            group = AuditGroup(f"{name}={value}", heaviest(counts), own.astype(np.float64))
        groups.append(group)
    return groups


def _defaults(trained: Trained) -> Sequence[str]:
    """All columns of both tables but ids and labels."""
    names = []
    for side in _SIDES:
        entity = trained.encoder.entities[side]
        left_out = (entity.plan.id, entity.plan.label)
        names += [f"{side}.{column}" for column in entity.frame.columns if column not in left_out]
    return names


def _events(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """User and item rows of the events that were learnt from, each pair once."""
    assert trained.past is not None
    return trained.past.positive.pairs()
