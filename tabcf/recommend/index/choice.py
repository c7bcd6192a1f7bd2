"""Whether lists come from a run's index or are exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Literal

from tabcf.errors import DataError, RunError
from tabcf.recommend.index.files import IndexInfo
from tabcf.recommend.index.graph import ItemIndex

__all__ = ["FROM_ITEMS", "IndexUse", "KeptIndex", "chosen_index"]

IndexUse = Literal["auto"] | bool

# Items from which on a run's index is used by itself. On one thread, with vectors of 64 around
# planted centres, the index makes 1.4 times as many top-100 lists a CPU-second as the exact way
# over 50,000 items (recall 0.97) and 6.3 times as many over 100,000 (0.98), where an exact list
# of one user alone takes 7 ms (benchmarks/ann.py). Below that there is little to be gained.
FROM_ITEMS = 100_000


@dataclass(frozen=True)
class KeptIndex:
    """An index that a model has; it is read when it is first used.

    Attributes:
        info: What it is made of, and its measured recall.
        read: Gives the index.
    """

    info: IndexInfo
    read: Callable[[], ItemIndex]

    @classmethod
    def of(cls, index: ItemIndex) -> KeptIndex:
        """An index in memory."""
        return cls(index.info, lambda: index)

    @cached_property
    def index(self) -> ItemIndex:
        """The index itself.

        Raises:
            RunError: Its files are missing or changed.
            MissingExtraError: hnswlib is not installed.
        """
        return self.read()


def chosen_index(
    kept: KeptIndex | None, use: IndexUse, k: int, narrowing: Mapping[str, bool]
) -> ItemIndex | None:
    """The index that makes the lists; None where they are exact.

    Args:
        kept: The model's index, if it has one.
        use: True demands it and False rejects it. "auto" takes it from `FROM_ITEMS` items on,
            where hnswlib is installed, for lists no longer than those that its recall was measured
            for.
        k: Length of the lists.
        narrowing: By its argument's name, whether something is given that an index cannot do.

    Raises:
        DataError: It is demanded beside what does not go with it, or `use` is none of these.
        RunError: It is demanded, and there is none.
        MissingExtraError: It is demanded, and hnswlib is not installed.
    """
    if use not in ("auto", True, False):
        raise DataError(f"index: expected 'auto', True or False, got {use!r}")
    given = [name for name, is_given in narrowing.items() if is_given]
    if use == "auto":
        is_fit = (
            kept is not None
            and not given
            and kept.info.n_items >= FROM_ITEMS
            and k <= kept.info.k
            and find_spec("hnswlib") is not None
        )
        return kept.index if kept is not None and is_fit else None
    if not use:
        return None
    if given:
        raise DataError(f"index: it lists all items, so that {given[0]} does not go with it")
    if kept is None:
        raise RunError(
            "index: this run has none; `run.build_index()` builds one, and `tabcf index RUN` adds "
            "one to a saved run"
        )
    return kept.index
