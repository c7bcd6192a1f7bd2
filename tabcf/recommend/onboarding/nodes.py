"""Questions in a tree: each answer leads to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tabcf.contracts.selector import Answers, Selector

__all__ = ["BRANCHES", "Branch", "Node", "Walk"]

Branch = Literal["like", "dislike", "unknown"]
BRANCHES: tuple[Branch, ...] = ("like", "dislike", "unknown")


@dataclass(frozen=True, slots=True)
class Node:
    """A question, and which node each answer leads to; None where no question follows."""

    item: Any
    below: dict[Branch, Node | None]


class Walk:
    """Asks from the root to a leaf.

    Args:
        root: The first question.
        like: An answer of at least this is a like.
        behind: Who asks behind the leaves.
    """

    def __init__(self, root: Node | None, like: float, behind: Selector) -> None:
        self._root = root
        self._like = like
        self._behind = behind

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        """The node's item; further ones as if it were not known."""
        said = dict(zip(asked, answers, strict=True))
        node, found = self._root, list[Any]()
        while node is not None and len(found) < k:
            if node.item not in said:
                found.append(node.item)
            node = node.below[self._branch(said.get(node.item))]
        answers = [*answers, *[None] * len(found)]
        return [*found, *self._behind.select(k - len(found), [*asked, *found], answers)]

    def _branch(self, answer: float | None) -> Branch:
        if answer is None:
            return "unknown"
        return "like" if answer >= self._like else "dislike"
