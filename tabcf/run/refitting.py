"""A run's spec as a recommender of a simulation: fitted again in each round, its lists re-ranked.

Dimension letters: U users, I items, K places of a list, M interactions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch

from tabcf.audit.loop_policies import top_lists
from tabcf.contracts.model import ColumnRows
from tabcf.data.batches import select
from tabcf.data.sources import Source
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.reranking.chain import Reranking, UserSide
from tabcf.recommend.reranking.facts import ItemFacts
from tabcf.recommend.topk import Lists
from tabcf.recommend.trained import Trained
from tabcf.run.population import Simulated, all_scores
from tabcf.run.stage import Stage
from tabcf.run.train import continue_stage
from tabcf.spec.records import Spec

__all__ = ["Refitting", "ServedPolicy"]

# A trained model goes on for a tenth of its epochs in each round.
_CONTINUED = 10
_MODEL, _LOSS = "model.", "loss."


@dataclass(frozen=True)
class Refitting:
    """What fits a spec on the interactions of a round.

    Attributes:
        simulated: Users, items and first interactions.
        spec: The run's own, or with other options of training.
        epochs: Of the first fit.
    """

    simulated: Simulated
    spec: Spec
    epochs: int

    @cached_property
    def first(self) -> Trained:
        """The fit on the first interactions, with which every world begins."""
        users, items = self.simulated.users, self.simulated.items
        return continue_stage(self._stage(self.spec, users, items), epochs=self.epochs)

    @cached_property
    def is_solved(self) -> bool:
        """Whether a fit does not go on from the weights of the one before."""
        registry = self.simulated.run.registry
        solves = registry.resolve("model", self.spec.model).definition.solve is not None
        return solves or self.spec.fit is not None

    def after(
        self,
        before: Trained | None,
        users: np.ndarray,
        items: np.ndarray,
        rng: np.random.Generator,
    ) -> Trained:
        """The fit on some interactions, `(M,)` each, behind the fit of the round before.

        Args:
            before: None in the first round; a solved model needs none.
            users: Places of users.
            items: Places of items.
            rng: Where the fit's seed comes from.
        """
        is_first = len(users) == len(self.simulated.users)
        if before is None and (is_first or not self.is_solved):
            return self.first
        spec = self.spec.model_copy(update={"seed": int(rng.integers(2**31))})
        epochs = max(round(self.epochs / _CONTINUED), 1)
        return continue_stage(self._stage(spec, users, items), before, epochs=epochs)

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> Trained:
        """The first fit with the weights of a later one, as `weights_of` gives them."""
        model, loss = copy.deepcopy(self.first.model), copy.deepcopy(self.first.loss)
        for prefix, module in ((_MODEL, model), (_LOSS, loss)):
            module.load_state_dict(
                {
                    name.removeprefix(prefix): torch.from_numpy(value)
                    for name, value in weights.items()
                    if name.startswith(prefix)
                }
            )
        return replace(self.first, model=model, loss=loss)

    def _stage(self, spec: Spec, users: np.ndarray, items: np.ndarray) -> Stage:
        train = spec.train.model_copy(update={"early_stopping": None})
        return Stage.of(
            spec.model_copy(update={"train": train}),
            self.simulated.run.registry,
            self.simulated.events(users, items),
        )


class ServedPolicy:
    """What a run's model lists, put into another order by re-rankers if there are any.

    Re-rankers know what users had up to the round. One that explores draws anew in each round.

    Args:
        refitting: What fits the model.
        reranking: What puts its lists into order; None for the model itself.
    """

    def __init__(self, refitting: Refitting, reranking: Reranking | None = None) -> None:
        self._refitting = refitting
        self._reranking = reranking
        self._trained: Trained | None = None

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Fit the model."""
        self._trained = self._refitting.after(self._trained, users, items, rng)

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items; ties in random order."""
        trained, simulated = self._trained, self._refitting.simulated
        assert trained is not None
        scores = all_scores(trained, simulated.user_rows, simulated.item_rows)
        if self._reranking is None:
            return top_lists(scores, seen, k, rng)
        n = min(max(self._reranking.n, k), scores.shape[1])
        pool = top_lists(scores, seen, n, rng)
        values = np.take_along_axis(scores, np.maximum(pool, 0), axis=1)
        block = Lists(slice(0, len(pool)), torch.from_numpy(pool), torch.from_numpy(values))
        reranked = self._drawing(self._reranking, trained, rng).reranked(
            [block], _items(trained, simulated), _users(trained, simulated), k=k, n=k
        )
        lists: np.ndarray = torch.cat([part.columns for part in reranked]).numpy()
        return np.pad(lists, ((0, 0), (0, k - lists.shape[1])), constant_values=-1)

    def state(self) -> dict[str, np.ndarray]:
        """The weights that the next round goes on from."""
        if self._trained is None or self._refitting.is_solved:
            return {}
        modules = ((_MODEL, self._trained.model), (_LOSS, self._trained.loss))
        return {
            f"{prefix}{name}": value.cpu().numpy()
            for prefix, module in modules
            for name, value in module.state_dict().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from weights that `state` gave."""
        if state:
            self._trained = self._refitting.with_weights(state)

    @staticmethod
    def _drawing(reranking: Reranking, trained: Trained, rng: np.random.Generator) -> Reranking:
        steps = tuple(replace(s, seed=int(rng.integers(2**31))) for s in reranking.steps)
        has_rows = isinstance(trained.model, ColumnRows)
        return Reranking(steps, cache(lambda: FoldIn(trained, "user") if has_rows else None))


def _items(trained: Trained, simulated: Simulated) -> ItemFacts:
    entity, rows = trained.encoder.entities["item"], simulated.item_rows
    frame = entity.with_blank_row().frame.iloc[rows].reset_index(drop=True)
    inputs = select(trained.encoder.tables["item"].inputs, torch.from_numpy(rows))
    source = Source(frame, "the table of item", is_text=entity.is_text)
    return ItemFacts(trained, rows, inputs, source, lambda: None)


def _users(trained: Trained, simulated: Simulated) -> UserSide:
    rows = simulated.user_rows
    inputs = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    return UserSide(rows, inputs, trained.encoder.events_with({}, rows))
