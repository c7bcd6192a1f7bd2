"""A run's approximate index of items: the part of `Run` that builds and keeps it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tabcf.recommend.index import PLACES, IndexInfo, KeptIndex, build_index
from tabcf.run.contents import RunContents

__all__ = ["Indexed"]


class Indexed(RunContents):
    """An index of its items, and that of what finds them."""

    @property
    def index(self) -> IndexInfo | None:
        """What the run's approximate index of items is made of and how much it finds, if any.

        Of a run of two stages it is the index of its own model; `run.first_stage.index` is that of
        what finds its items.
        """
        return None if self.trained.index is None else self.trained.index.info

    @property
    def indices(self) -> list[str]:
        """A line on each index: the run's own, and that of what finds its items."""
        lines = [] if self.index is None else [str(self.index)]
        if self.first_stage is not None:
            lines += [f"the first stage has {line}" for line in self.first_stage.indices]
        return lines

    def build_index(
        self,
        *,
        recall: float = 0.95,
        m: int = 16,
        ef_construction: int = 100,
        ef: int = 64,
        places: int | None = None,
        retrieve: bool = True,
    ) -> IndexInfo:
        """Build an approximate index of all items, which `recommend` then may use.

        It belongs to the run in memory: `save` writes it with the run, and `save_index` adds it to
        the folder of a run that is saved already. Metrics are always those of exact lists.

        Args:
            recall: Share of the exact lists that is to be found, 0 to 1, for a sample of the
                run's users; `ef` is doubled until it is reached.
            m: Edges of an item; more find more and take more memory.
            ef_construction: Items kept in view while building; more find more and build more
                slowly.
            ef: Items kept in view in a search at first.
            places: Length of the lists that the recall is measured for, beyond which `recommend`
                does not use the index by itself; by default 100, or as many items as the first of
                two stages finds where these are more.
            retrieve: Whether it is one of what finds the items, where the run has a first stage;
                without it, it is one of the run's own model.

        Returns:
            What it is made of, with the recall that was measured.

        Raises:
            DataError: The model's scores are no products of vectors, an option is out of range,
                or the recall cannot be reached.
            MissingExtraError: hnswlib is not installed.
        """
        if retrieve and self.first_stage is not None and self.spec.retrieve is not None:
            found = max(self.spec.retrieve.n, PLACES)
            return self.first_stage.build_index(
                recall=recall,
                m=m,
                ef_construction=ef_construction,
                ef=ef,
                places=found if places is None else places,
            )
        built = build_index(
            self.trained,
            recall=recall,
            m=m,
            ef_construction=ef_construction,
            ef=ef,
            places=PLACES if places is None else places,
            seed=self.trained.seed,
        )
        self.trained = replace(self.trained, index=KeptIndex.of(built))
        return built.info

    def save_index(self) -> Path:
        """Add the index to the folder of the saved run, in place of any other.

        So is that of the first of two stages, where there is one. Killed in between, it leaves the
        folder as it was.

        Raises:
            RunError: The run is not saved or has no index, or its folder has other weights, cannot
                be written or is being changed by another process.
        """
        from tabcf.run.kept_index import add_index

        return add_index(self._run)
