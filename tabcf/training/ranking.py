"""Losses that rank items: of an event's item among sampled ones, or of the whole catalogue."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Bag, Factored, Inputs, Query, Sampled
from tabcf.contracts.model import FactoredScorer, ItemScorer
from tabcf.contracts.table import Table
from tabcf.data.batches import bag_to_device, join, masked, select, select_bag, to_device, without
from tabcf.data.order import Chunks, shuffled
from tabcf.data.pairs import by_user
from tabcf.errors import TrainingError
from tabcf.nn.scoring import score_by_pairs, score_candidates
from tabcf.training.samplers import Catalogue, Chosen, Drawn, Sampler

__all__ = ["CatalogueObjective", "SampledBatch", "SampledObjective", "UserBatch"]


class SampledBatch(NamedTuple):
    """B events with the columns of their own and of N other items each.

    Where all share them, `items` are the B own ones and `shared` the N others.
    """

    query: Query
    items: Inputs
    shared: Inputs | None
    sampled: Sampled
    weight: Tensor | None


class SampledObjective:
    """A loss of each event's item among others that are drawn anew in every epoch.

    What the event holds beside the item, such as the time, goes with each of its items.

    Args:
        table: Training events with users and items.
        model: Scores items for users; by its forward where it has no `score_candidates`.
        loss: A sampled loss.
        sampler: Draws the others.
        chosen: Pairs that are never drawn.
        catalogue: The items that may be drawn.
        masking: Shares of values hidden, by categorical column; of all items of an event alike.
        chunks: How rows are shuffled; None for all together.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        sampler: Sampler,
        chosen: Chosen,
        catalogue: Catalogue,
        batch_size: int,
        masking: Sequence[float] = (),
        device: torch.device | None = None,
        chunks: Chunks | None = None,
    ) -> None:
        self.table = table
        self.model: Any = model
        self.loss_module = loss
        self.sampler = sampler
        self.chosen = chosen
        self.catalogue = catalogue
        self.batch_size = batch_size
        self.masking = masking
        self.chunks = chunks
        self._masking = _by_side(table, masking)
        self._device = device
        self._column = torch.zeros(len(table.entities["item"]), dtype=torch.int64)
        self._column[catalogue.rows] = torch.arange(len(catalogue.rows))

    @property
    def n_steps(self) -> int:
        return -(-len(self.table) // self.batch_size)

    @property
    def n_lookups(self) -> int:
        n = {name: own.inputs.x_cat.shape[1] for name, own in self.table.entities.items()}
        of_event = sum(n.values()) + self.table.events.x_cat.shape[1]
        return self.batch_size * (of_event + self.sampler.n * n["item"])

    @property
    def n_scored(self) -> int:
        return self.batch_size * (1 + self.sampler.n)

    def epoch(self, rng: Generator) -> Iterator[SampledBatch]:
        for table, block in shuffled(self.table, self.batch_size, rng, self.chunks):
            for positions in block.split(self.batch_size):
                _, drawn = self.drawn(table, positions, rng)
                yield self._batch(table, positions, drawn, rng)

    def drawn(self, table: Table, positions: Tensor, rng: Generator) -> tuple[Tensor, Drawn]:
        """The columns of some events' own items, `(B,)`, and those drawn for them."""
        users = table.rows["user"].index_select(0, positions).long()
        own = self._column.index_select(0, table.rows["item"].index_select(0, positions))
        return own, self.sampler.draw(users, own, self.chosen, rng)

    def loss(self, batch: SampledBatch) -> Tensor:
        raw = score_candidates(self.model, batch.query, batch.items)
        if batch.shared is not None:
            raw = torch.cat([raw, _all_scores(self.model, batch.query, batch.shared)], 1)
        value: Tensor = self.loss_module(raw.squeeze(2), batch.sampled, batch.weight)
        return value

    def of(self, model: nn.Module) -> SampledObjective:
        other = copy.copy(self)
        other.model = model
        return other

    def _batch(self, table: Table, positions: Tensor, drawn: Drawn, rng: Generator) -> SampledBatch:
        query = self._query(table, positions, rng)
        own = table.rows["item"].index_select(0, positions).long()
        others = self.catalogue.rows[drawn.columns]
        if self.sampler.pool > 1:
            drawn, others = self._hardest(query, drawn, others)
        shared = None
        if self.sampler.is_shared:
            shared = select(self.table.entities["item"].inputs, others[0])
            shared = masked(shared, self._masking.item, rng)
            others = others[:, :0]
        rows = torch.cat([own[:, None], others], 1).flatten()
        items = masked(select(self.table.entities["item"].inputs, rows), self._masking.item, rng)
        items = self._item_sets(table, items, positions, rows.view(len(positions), -1).shape[1])
        target, weight = table.target, table.weight
        sampled = Sampled(
            drawn.is_valid,
            drawn.log_q,
            None if target is None else target.index_select(0, positions),
        )
        device = self._device
        return SampledBatch(
            query,
            to_device(items, device),
            None if shared is None else to_device(shared, device),
            Sampled(*(None if x is None else x.to(device) for x in sampled)),  # type: ignore[arg-type]  # fields of two types
            None if weight is None else weight.index_select(0, positions).to(device),
        )

    def _query(self, table: Table, positions: Tensor, rng: Generator) -> Query:
        """The users' and the events' own columns, in the order of the layout."""
        parts = {}
        for name, entity in table.entities.items():
            if name != "item":
                rows = table.rows[name].index_select(0, positions)
                parts[name] = select(entity.inputs, rows)
        user = self._user_sets(table, parts.pop("user"), positions)
        user = masked(user, self._masking.user, rng)
        event = join(select(table.events, positions), *parts.values())
        event = masked(event, self._masking.event, rng)
        return Query(to_device(user, self._device), to_device(event, self._device))

    def _user_sets(self, table: Table, user: Inputs, positions: Tensor) -> Inputs:
        """The users' sets without what the events themselves put there."""
        bags = list(user.x_sets)
        for column, values in table.left_out.items():
            if column < len(bags):
                bags[column] = without(bags[column], values.index_select(0, positions))
        return user._replace(x_sets=tuple(bags))

    def _item_sets(self, table: Table, items: Inputs, positions: Tensor, n: int) -> Inputs:
        """The same for the items' sets; only the first of each n items is the event's own."""
        bags = list(items.x_sets)
        before = len(table.entities["user"].inputs.x_sets)
        for column, values in table.left_out.items():
            if before <= column < before + len(bags):
                own = values.new_zeros(len(positions), n)
                own[:, 0] = values.index_select(0, positions)
                bags[column - before] = without(bags[column - before], own.flatten())
        return items._replace(x_sets=tuple(bags))

    def _hardest(self, query: Query, drawn: Drawn, others: Tensor) -> tuple[Drawn, Tensor]:
        """Of all items drawn for an event the n with the highest scores."""
        items = to_device(
            select(self.table.entities["item"].inputs, others.flatten()), self._device
        )
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            scores = score_candidates(self.model, query, items).squeeze(2).cpu()
        self.model.train(was_training)
        scores = scores.masked_fill(~drawn.is_valid, -torch.inf)
        best = scores.topk(self.sampler.n, dim=1).indices
        kept = Drawn(drawn.columns.gather(1, best), drawn.is_valid.gather(1, best))
        return kept, others.gather(1, best)


class _Sides(NamedTuple):
    """Rates of masking by the columns of each side."""

    user: tuple[float, ...]
    item: tuple[float, ...]
    event: tuple[float, ...]


def _by_side(table: Table, rates: Sequence[float]) -> _Sides:
    n_user, n_item = (table.entities[name].inputs.x_cat.shape[1] for name in ("user", "item"))
    of_columns = tuple(rates)
    return _Sides(
        of_columns[:n_user], of_columns[n_user : n_user + n_item], of_columns[n_user + n_item :]
    )


def _all_scores(model: nn.Module, query: Query, items: Inputs) -> Tensor:
    """`(B, N, d_out)` of the same items for all, the model's own way or pair by pair."""
    if isinstance(model, ItemScorer):
        return model.score_items(query, items)
    return score_by_pairs(model, query, items)


class UserBatch(NamedTuple):
    """B users, the whole catalogue, and its columns that each of them had in training."""

    query: Query
    items: Inputs
    positives: Bag


class CatalogueObjective:
    """A loss of all trained items at once for a batch of users.

    Column j of the catalogue is the item with index j + 1. A row of the batch is a user with
    all of their training items, so event columns cannot take part. A factored loss gets the
    vectors whose products are the scores, and not the scores. Masking hides users, and items of
    the whole catalogue, anew in every batch.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        batch_size: int,
        masking: Sequence[float] = (),
        device: torch.device | None = None,
    ) -> None:
        self._loss = loss
        self._take(model)
        self._batch_size = batch_size
        self._masking = _by_side(table, masking)
        self._device = device
        self._users = table.entities["user"].inputs
        catalogue = torch.nonzero(table.entities["item"].index).squeeze(1)
        self._items = select(table.entities["item"].inputs, catalogue)
        self._items_there = to_device(self._items, device)
        had = by_user(table, table.entities["item"].index - 1)
        self._user_rows = had.users
        self._positives = Bag(had.items, had.counts.cumsum(0) - had.counts, had.weight)

    @property
    def n_steps(self) -> int:
        return -(-len(self._user_rows) // self._batch_size)

    @property
    def n_lookups(self) -> int:
        return self._batch_size * self._users.x_cat.shape[1] + self._items.x_cat.numel()

    @property
    def n_scored(self) -> int:
        return self._batch_size * len(self._items.x_cat)

    def epoch(self, rng: Generator) -> Iterator[UserBatch]:
        order = torch.randperm(len(self._user_rows), generator=rng)
        for chosen in order.split(self._batch_size):
            users = select(self._users, self._user_rows[chosen])
            users = masked(users, self._masking.user, rng)
            items = self._items_there
            if any(self._masking.item):
                items = to_device(masked(self._items, self._masking.item, rng), self._device)
            n = len(chosen)
            blank = Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0))
            query = Query(to_device(users, self._device), to_device(blank, self._device))
            positives = select_bag(self._positives, chosen)
            positives = positives._replace(values=positives.values.long())
            yield UserBatch(query, items, bag_to_device(positives, self._device))

    def loss(self, batch: UserBatch) -> Tensor:
        value: Tensor
        if self._factors is not None:
            query = self._factors.query_factors(batch.query)
            factors = Factored(query, self._factors.item_factors(batch.items))
            value = self._loss(factors, batch.positives)
            return value
        raw = self._model.score_items(batch.query, batch.items)
        value = self._loss(raw.squeeze(2), batch.positives)
        return value

    def of(self, model: nn.Module) -> CatalogueObjective:
        other = copy.copy(self)
        other._take(model)
        return other

    def _take(self, model: nn.Module) -> None:
        """Train a model, if it can do what the loss asks for."""
        self._factors: FactoredScorer | None = None
        if getattr(self._loss, "form", "catalogue") == "factored":
            if not isinstance(model, FactoredScorer) or not model.is_linear:
                raise TrainingError(
                    "a loss of the whole matrix needs a model whose scores are products of "
                    "vectors, such as dot_product without a y_range"
                )
            self._factors = model
        elif not isinstance(model, ItemScorer):
            raise TrainingError(
                f"{type(model).__name__} cannot score a whole catalogue; use a pointwise loss"
            )
        self._model: Any = model
