"""What every re-ranker must do."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import RerankerDefinition
from tabcf.contracts.reranking import Pool, Rerank
from tabcf.data.batches import select
from tabcf.plugin.registry import parse_options
from tabcf.recommend.recommender import offered_items
from tabcf.recommend.reranking.facts import ItemFacts, UserFacts
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import Trained
from tabcf.testing.data import heavy_group

__all__ = ["RerankerContract"]

_N_USERS, _N_POOL, _K = 20, 30, 10


class RerankerContract:
    """Subclass it with a `definition` and, where they are needed, `options` as in YAML.

    The lists are those of a small trained model of films, whose table has the columns `title` and
    `kind`; some are shorter than others, and two are of users that nobody knows.
    """

    definition: ClassVar[RerankerDefinition]
    options: ClassVar[Any] = {}

    def test_a_list_has_items_of_the_pool_each_once(self) -> None:
        pool = _pool()
        for n in (_K, _N_POOL):
            found = self._reranked(pool, n)
            for own, given in zip(found.columns.tolist(), pool.columns.tolist(), strict=True):
                listed = [column for column in own if column >= 0]
                assert len(set(listed)) == len(listed), f"{self._name}: twice in {own}"
                assert set(listed) <= set(given), f"{self._name}: not in the pool: {own}"

    def test_gaps_are_at_the_end_alone(self) -> None:
        found = self._reranked(_pool(), _K)
        is_gap = found.columns[:, :_K] < 0
        assert bool((is_gap.int().diff(dim=1) >= 0).all()), f"{self._name}: {found.columns}"

    def test_columns_and_scores_are_as_wide_as_each_other(self) -> None:
        found = self._reranked(_pool(), _K)
        assert found.columns.shape == found.scores.shape, self._name
        assert len(found.columns) == _N_USERS, f"{self._name}: {len(found.columns)} users"
        assert found.columns.dtype == torch.int64, f"{self._name}: {found.columns.dtype}"

    def test_scores_fall(self) -> None:
        scores = self._reranked(_pool(), _N_POOL).scores
        assert not scores.isnan().any(), f"{self._name}: {scores}"
        before, after = scores[:, :-1], scores[:, 1:]
        is_falling = bool((before >= after).all())
        assert is_falling, f"{self._name}: a re-ranker behind it would see another order"

    def test_the_pool_stays_as_it_is(self) -> None:
        pool = _pool()
        columns, scores = pool.columns.clone(), pool.scores.clone()
        self._reranked(pool, _K)
        assert torch.equal(pool.columns, columns), f"{self._name}: changes what it is given"
        assert torch.equal(pool.scores, scores), f"{self._name}: changes what it is given"

    def test_it_is_the_same_twice(self) -> None:
        one, two = (self._reranked(_pool(), _K).columns for _ in range(2))
        assert torch.equal(one, two), f"{self._name}: another list with the same draws"

    def test_a_users_list_does_not_hang_on_others(self) -> None:
        if self.definition.explores:
            return
        order = torch.randperm(_N_USERS, generator=Generator().manual_seed(1))
        one = self._reranked(_pool(), _K).columns[order]
        two = self._reranked(_pool(order), _K).columns
        assert torch.equal(one, two), f"{self._name}: other lists among other users"

    def test_places_have_propensities_if_it_explores(self) -> None:
        found = self._reranked(_pool(), _K)
        if not self.definition.explores:
            assert found.propensities is None, f"{self._name}: does not say that it explores"
            return
        assert hasattr(self._parsed(), "seed"), f"{self._name}: its options have no seed"
        assert found.propensities is not None, f"{self._name}: no propensities"
        own = found.propensities[found.columns >= 0]
        is_within = bool(((own > 0) & (own <= 1 + 1e-9)).all())
        assert is_within, f"{self._name}: no probabilities: {own}"

    def test_its_columns_are_of_the_table_and_its_n_is_positive(self) -> None:
        options = self._parsed()
        assert getattr(options, "n", 0) > 0, f"{self._name}: its options have no n"
        if self.definition.item_columns is not None:
            named = self.definition.item_columns(options)
            assert set(named) <= {"title", "kind"}, f"{self._name}: asks for {named}"

    def _parsed(self) -> Any:
        given = self.options if isinstance(self.options, Mapping) else {"": self.options}
        return parse_options(self.definition.options, given)

    def _reranked(self, pool: Pool, n: int) -> Pool:
        rerank: Rerank = self.definition.build(self._parsed())
        return rerank(pool, n, Generator().manual_seed(0))

    @property
    def _name(self) -> str:
        return self.definition.name


@cache
def _trained() -> Trained:
    """A dot product that was fitted on films and those who watched them."""
    from tabcf.run.fit import fit
    from tabcf.run.run import Run

    films = heavy_group()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "items.csv")
        films.items.to_csv(table, index=False)
        item = {"id": "item_id", "table": str(table), "label": "title"}
        spec: Mapping[str, Any] = {
            "tabcf": 1,
            "target": {"implicit": {}},
            "entities": {"user": {"id": "user_id"}, "item": item},
            "model": {"dot_product": {"factors": 8}},
            "split": {"random": {"valid": 0, "test": 0}},
            "train": {"epochs": 5, "batch_size": 64, "learning_rate": 0.03},
        }
        run = fit(spec, films.events, plugins=["no:*"])
        assert isinstance(run, Run)
        return run.trained


def _pool(order: Tensor | None = None) -> Pool:
    """The first items of some users; every fifth user's list is short."""
    trained = _trained()
    rows = np.arange(_N_USERS, dtype=np.int32)
    rows[-1] = 0
    if order is not None:
        rows = rows[order.numpy()]
    offered = offered_items(trained)
    users = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    events = trained.encoder.events_with({}, rows)
    blocks = score_blocks(trained, users, events, offered.inputs, history=None)
    best = torch.cat([scores for _, scores in blocks]).double().topk(_N_POOL, dim=1)
    is_short = torch.from_numpy(rows % 5 == 1).unsqueeze(1) & (torch.arange(_N_POOL) >= _K // 2)
    facts = ItemFacts(trained, offered.rows, offered.inputs, offered.source, lambda: None)
    return Pool(
        best.indices.masked_fill(is_short, -1),
        best.values.masked_fill(is_short, -torch.inf),
        UserFacts(facts, rows, users, events),
        _K,
    )
