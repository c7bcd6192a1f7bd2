"""What a list may hold: conditions on items, and at most so many of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from tabcf.data.sources import Source
from tabcf.data.values import sets
from tabcf.errors import DataError
from tabcf.recommend.topk import Lists

__all__ = ["Cap", "capped", "caps_of"]


class Cap(NamedTuple):
    """At most `most` items of each group; an item may be in several groups, or in none."""

    most: int
    groups: Sequence[Sequence[str]]


def caps_of(items: Source, max_per: Mapping[str, int], *, separator: str = "|") -> list[Cap]:
    """The caps of candidates by a column's values, such as `{"genres": 3}`.

    Raises:
        DataError: There is no such column, or the number is not positive.
    """
    caps = []
    for column, most in max_per.items():
        items.require([column])
        if most < 1:
            raise DataError(f"max_per: {column}: expected a positive number, got {most}")
        values, offsets = sets(items.frame[column], separator=separator)
        groups = [values[offsets[i] : offsets[i + 1]] for i in range(len(items.frame))]
        caps.append(Cap(most, groups))
    return caps


def capped(lists: Lists, caps: Sequence[Cap], k: int) -> Lists:
    """The first k items of each list that the caps let pass, from the top down.

    Shape:
        lists: `(B, L)` with L at least k; the result: `(B, k)`, -1 in empty places.
    """
    columns = torch.full((len(lists.columns), k), -1)
    scores = torch.zeros(len(lists.columns), k)
    for row, own in enumerate(lists.columns.tolist()):
        kept = _kept(own, caps, k)
        columns[row, : len(kept)] = torch.tensor([own[place] for place in kept], dtype=torch.int64)
        scores[row, : len(kept)] = lists.scores[row, kept]
    return Lists(lists.users, columns, scores)


def _kept(own: Sequence[int], caps: Sequence[Cap], k: int) -> list[int]:
    """Places of one list that are kept."""
    counts: list[dict[str, int]] = [{} for _ in caps]
    kept: list[int] = []
    for place, column in enumerate(own):
        if column < 0 or len(kept) == k:
            break
        groups = [cap.groups[column] for cap in caps]
        if any(
            count.get(group, 0) >= cap.most
            for cap, count, own_groups in zip(caps, counts, groups, strict=True)
            for group in own_groups
        ):
            continue
        for count, own_groups in zip(counts, groups, strict=True):
            for group in own_groups:
                count[group] = count.get(group, 0) + 1
        kept.append(place)
    return kept
