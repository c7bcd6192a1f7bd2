"""What an audit found, and how it says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Audit"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found.

    Attributes:
        k: Length of the lists.
        overall: Figures over all users by name: `n_users`, `n_items`, `n_events`; `gini` and
            `coverage` of the lists over the catalogue, and `gini_data` of the training events;
            `popularity`, the mean share of users who had a listed item, `popularity_data`, the same
            of users' own items, and `popularity_lift`, the first over the second, less 1; `tail`
            and `tail_data`, the shares of items of the long tail in lists and in events; of held
            rows `n_lists`, `ndcg` and `recall`, and `rmse` where numbers are predicted.
        groups: Three rows a group, for `all` users, its `members` and the `others`: `n_users`,
            `share_data` of their training events that are the group's, `share_recommended` of the
            places in their lists, `amplification`, the second over the first, and what `overall`
            has of held rows.
        tastes: One row each for `niche`, `diverse` and `mainstream` users: their share of the head
            of popular items in events and lists, mean popularity in both and the lift, and the same
            of held rows.
        n_small: How many groups were too small to be looked at.
        n_without: How many users with lists have nothing to find in the held rows; None without.
    """

    k: int
    overall: Mapping[str, float]
    groups: pd.DataFrame
    tastes: pd.DataFrame
    n_small: int = 0
    n_without: int | None = None

    def amplified(self, *, users: str = "all") -> pd.DataFrame:
        """The groups' figures for `all`, `members` or `others`, the most amplified first."""
        own = self.groups[self.groups["users"] == users]
        return own.sort_values("amplification", ascending=False, kind="stable", ignore_index=True)

    def table(self) -> pd.DataFrame:
        """One row a group, the most amplified first, as a terminal shows it.

        Returns:
            `group`, `n_members`, its shares of `data` and `lists`, the amplification in the lists
            of `all` users, `members` and `others`, and of held rows the NDCG of the latter two.
        """
        if not len(self.groups):
            return self.groups
        own = self.amplified()
        by_group = self.groups.pivot(index="group", columns="users").reindex(own["group"])
        found = {
            "group": own["group"],
            "n_members": by_group["n_users", "members"].to_numpy(),
            "data": own["share_data"],
            "lists": own["share_recommended"],
        }
        for users in ("all", "members", "others"):
            found[users] = by_group["amplification", users].to_numpy()
        for users in ("members", "others") if "ndcg" in self.groups else ():
            found[f"ndcg {users}"] = by_group["ndcg", users].to_numpy()
        return pd.DataFrame(found)

    def to_json(self) -> dict[str, object]:
        """Plain values; what is not known is None."""
        return {
            "k": self.k,
            "overall": {name: _plain(value) for name, value in self.overall.items()},
            "groups": _records(self.groups),
            "tastes": _records(self.tastes),
            "n_small_groups": self.n_small,
            "n_users_without_held_items": self.n_without,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        o = self.overall
        yield (
            f"lists of {self.k} for {o['n_users']:,} users: {o['coverage']:.0%} of "
            f"{o['n_items']:,} items are in any; Gini {o['gini']:.3f}, of the events "
            f"{o['gini_data']:.3f}"
        )
        yield (
            f"a listed item was had by {o['popularity']:.1%} of users, one of their own by "
            f"{o['popularity_data']:.1%} ({o['popularity_lift']:+.0%}); the long tail has "
            f"{o['tail']:.1%} of places and {o['tail_data']:.1%} of events"
        )
        lifts = self.tastes.set_index("users")["popularity_lift"]
        said = ", ".join(f"{name} {lift:+.0%}" for name, lift in lifts.items())
        yield f"popularity of lists over that of users' own items: {said}"
        if "ndcg" in o:
            yield (
                f"held rows: NDCG@{self.k} {o['ndcg']:.4f}, recall@{self.k} {o['recall']:.4f} over "
                f"{o['n_lists']:,} users; {self.n_without:,} have nothing to find"
            )
        ranked = _rows(self.amplified().dropna(subset="amplification")) if len(self.groups) else []
        for row in ranked[:_SHOWN]:
            yield f"amplified {self._of_group(row)}"
        for row in ranked[_SHOWN:][-1:]:
            yield f"amplified least, {self._of_group(row)}"
        if self.n_small:
            yield f"groups with too few events, left out: {self.n_small}"

    def _of_group(self, row: Mapping[str, Any]) -> str:
        own = self.groups[self.groups["group"] == row["group"]]
        by = own.set_index("users")["amplification"]
        return (
            f"{by['all']:.2f} times: {row['group']}, {row['share_data']:.1%} of events and "
            f"{row['share_recommended']:.1%} of places (members {by['members']:.2f}, everyone else "
            f"{by['others']:.2f})"
        )


def _plain(value: Any) -> Any:
    return None if value != value else value


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{name: _plain(value) for name, value in row.items()} for row in _rows(frame)]
