"""What several processes share, in one process that is a group of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query, Sampled
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import Batch
from tabcf.data.order import Chunks
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import MSE
from tabcf.nn import DotProductBias, EmbeddingNN, RowTable, lookup
from tabcf.nn.tabular import BatchNorm
from tabcf.training.kept import packed, unpacked
from tabcf.training.loop import train
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import Decay, Piece, decay_groups
from tabcf.training.ranking import SampledBatch, UserBatch
from tabcf.training.scale_out.exchange import own_rows
from tabcf.training.scale_out.group import Group, joined
from tabcf.training.scale_out.norms import Filling, by_whole_batch
from tabcf.training.scale_out.own import OwnRows, sizes
from tabcf.training.scale_out.parts import part_of
from tabcf.training.scale_out.ranks import TogetherRanks
from tabcf.training.scale_out.seam import ALONE, How, Ranks
from tabcf.training.scale_out.shards import Shards
from tabcf.training.schedules import one_cycle
from tabcf.training.state import weights_of

N_USERS, N_ITEMS, N = 30, 20, 300
TARGET = TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    meeting = (tmp_path_factory.mktemp("group") / "meeting").as_uri()
    with joined(0, 1, meeting=meeting) as found:
        yield found


def pointwise(n: int, *, weighted: bool = False) -> Batch:
    rows = torch.arange(n)
    inputs = Inputs(rows[:, None].int(), torch.zeros(n, 0), (Bag(rows, rows),))
    return Batch(inputs, rows.float(), torch.rand(n) if weighted else None)


def sampled(n: int) -> SampledBatch:
    rows = torch.arange(n)
    blank = Inputs(torch.zeros(n, 0), torch.zeros(n, 0))
    items = Inputs((10 * rows[:, None] + torch.arange(3)).reshape(-1, 1), torch.zeros(3 * n, 0))
    query = Query(Inputs(rows[:, None], torch.zeros(n, 0)), blank)
    return SampledBatch(query, items, None, Sampled(rows[:, None] > 0, None, rows.float()), None)


def of_users(n: int) -> UserBatch:
    rows = torch.arange(n)
    blank = Inputs(torch.zeros(n, 0), torch.zeros(n, 0))
    query = Query(Inputs(rows[:, None], torch.zeros(n, 0)), blank)
    return UserBatch(query, blank, Bag(rows, rows))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_parts_are_the_batch_and_their_shares_are_one(n: int) -> None:
    parts = [part_of(pointwise(n), rank, 3) for rank in range(3)]
    own = [p.batch for p in parts if not p.is_blank]
    assert sorted(torch.cat([b.target for b in own]).tolist()) == list(range(n))
    assert all(torch.equal(b.inputs.x_sets[0].values, b.inputs.x_cat[:, 0]) for b in own)
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert [part.is_blank for part in parts] == [rank >= n for rank in range(3)]
    assert all(len(part.batch.target) for part in parts)


def test_parts_of_weighted_events_count_by_their_weights() -> None:
    batch = pointwise(7, weighted=True)
    assert batch.weight is not None
    parts = [part_of(batch, rank, 2) for rank in range(2)]
    assert parts[1].share == pytest.approx(float(batch.weight[1::2].sum() / batch.weight.sum()))
    assert sum(part.share for part in parts) == pytest.approx(1)


def test_an_event_keeps_its_items_and_a_user_what_they_chose() -> None:
    part = part_of(sampled(5), 1, 2).batch
    assert part.query.user.x_cat.tolist() == [[1], [3]]
    assert part.items.x_cat.flatten().tolist() == [10, 11, 12, 30, 31, 32]
    assert part.sampled.target.tolist() == [1, 3]
    users = part_of(of_users(5), 0, 2).batch
    assert users.positives.values.tolist() == users.query.user.x_cat.flatten().tolist() == [0, 2, 4]


def test_a_batch_of_unknown_form_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"train.workers: the rows of a dict cannot be told"):
        part_of({}, 0, 2)


@pytest.mark.parametrize(("n_rows", "size"), [(10, 4), (8, 2), (3, 5)])
def test_own_rows_are_torchs_chunks(n_rows: int, size: int) -> None:
    rows = torch.arange(n_rows)
    own = [rows[own_rows(n_rows, rank, size)].tolist() for rank in range(size)]
    assert [part for part in own if part] == [chunk.tolist() for chunk in rows.chunk(size)]
    assert [row for part in own for row in part] == rows.tolist()


@pytest.mark.parametrize(("lengths", "n_steps"), [([7, 4], 3), ([1, 1, 1], 3), ([40, 9, 30], 8)])
def test_rows_of_ones_own_are_spread_evenly(lengths: list[int], n_steps: int) -> None:
    found = sizes(lengths, n_steps)
    assert [sum(own) for own in found] == lengths
    totals = [sum(step) for step in zip(*found, strict=True)]
    assert all(max(each) - min(each) <= 1 for each in (*found, totals))


def numbered(n: int, first: int) -> Table:
    """Events of n users, each of whom has their number as the target."""
    rows = torch.arange(first, first + n, dtype=torch.int32)
    return Table(
        {},
        Inputs(rows[:, None], torch.zeros(n, 0)),
        target=rows.float(),
    )


@pytest.mark.parametrize("chunks", [None, Chunks(4, 2)])
def test_an_epoch_of_own_rows_has_each_row_once(
    chunks: Chunks | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabcf.training.scale_out.own._BLOCK", 16)
    lengths, drawn, states = [50, 3, 21], [], []
    for rank, n in enumerate(lengths):
        table = numbered(n, sum(lengths[:rank]))
        own = OwnRows(
            table,
            nn.Identity(),
            MSE(TARGET),
            lengths=lengths,
            rank=rank,
            batch_size=8,
            chunks=chunks,
        )
        rng = Generator().manual_seed(3)
        drawn.append([list(own.epoch(rng)), list(own.epoch(rng))])
        states.append(rng.get_state())
        assert own.n_steps == 10
    assert all(torch.equal(state, states[0]) for state in states)
    orders = []
    for epoch in range(2):
        steps = list(zip(*(of_rank[epoch] for of_rank in drawn), strict=True))
        taken = [[p.batch for p in step if not p.is_blank] for step in steps]
        assert [sum(len(b.target) for b in step) for step in taken] == [8, 8, 8, 8, *[7] * 6]
        assert all(sum(part.share for part in step) == pytest.approx(1) for step in steps)
        assert all(len(part.batch.target) for step in steps for part in step)
        order = torch.cat([batch.target for step in taken for batch in step])
        assert all(
            torch.equal(b.inputs.x_cat[:, 0], b.target.int()) for step in taken for b in step
        )
        assert sorted(order.tolist()) == list(range(74))
        orders.append(order.tolist())
    assert orders[0] != orders[1]


def test_norms_of_whole_batches_are_torchs(group: Group) -> None:
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Linear(3, 4), BatchNorm(4)).train()
    together = nn.Sequential(nn.Linear(3, 4), BatchNorm(4)).train()
    together.load_state_dict(alone.state_dict())
    x = 100 + torch.randn(16, 3)
    with by_whole_batch(together, group, Filling()):
        for batch in (x, x[:1]):
            for model in (alone, together):
                model(batch).square().sum().backward()
    assert type(together[1]) is BatchNorm
    for (name, own), (_, other) in zip(
        [*alone.named_parameters(), *alone.named_buffers()],
        [*together.named_parameters(), *together.named_buffers()],
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5, msg=name)
        if own.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_spread_rows_are_found_by_their_numbers_and_put_together(group: Group) -> None:
    table = RowTable(torch.arange(10.0).reshape(5, 2))
    whole = table.detach().clone()
    index = torch.tensor([[4, 0], [4, 2]])
    shards = Shards(group, [table])
    found = lookup(index, table)
    assert torch.equal(found, whole[index])
    found.sum().backward()
    assert table.grad is not None
    assert table.grad.to_dense().sum(1).tolist() == [2, 0, 2, 0, 4]
    decay = Piece(table, slice(1, 3), 0.5)
    assert shards.pieces([decay]) == [decay]
    shards.put_together()
    assert table.holder is None
    assert torch.equal(table.data, whole)


def table_of_ratings() -> Table:
    rng = Generator().manual_seed(4)
    users = torch.randint(1, N_USERS + 1, (N,), generator=rng).int()
    items = torch.randint(1, N_ITEMS + 1, (N,), generator=rng).int()
    return Table(
        rows={"user": users, "item": items},
        events=Inputs(torch.zeros(N, 0, dtype=torch.int32), torch.zeros(N, 0)),
        entities={"user": entity(N_USERS), "item": entity(N_ITEMS)},
        target=3 + ((users + items) % 2).float(),
    )


def entity(n: int) -> EntityTable:
    ids = torch.arange(n + 1, dtype=torch.int32)[:, None]
    return EntityTable(Inputs(ids, torch.zeros(n + 1, 0)))


class Memory:
    """Keeps the state after some steps under a name, or begins with it."""

    def __init__(self, ranks: Ranks, path: Path, keep_at: int | None = None) -> None:
        self.ranks, self.path, self.keep_at, self.n = ranks, path, keep_at, 0

    def restore(self) -> Any:
        return unpacked(*self.ranks.load(self.path)) if self.keep_at is None else None

    def is_due(self, n_steps: int) -> bool:
        self.n += n_steps
        return self.n == self.keep_at

    def keep(self, state: Any) -> None:
        self.ranks.save(*packed(state), self.path)


def fitted(
    model: nn.Module, ranks: Ranks, *, memory: Memory | None = None, **changes: Any
) -> dict[str, Tensor]:
    loss = MSE(TARGET)
    objective = PointwiseObjective(table_of_ratings(), model, loss, batch_size=64)

    def decays(of: nn.Module) -> list[Piece]:
        return decay_groups(of.parameters(), [], {}, Decay(0.01))

    how = replace(How("eager", decays, one_cycle(), 1e-3, 2, clip_norm=1.0), **changes)
    with ranks.wrap(objective, model, loss, how) as engine:
        train(
            model,
            engine.steps,
            schedule=how.schedule,
            learning_rate=how.learning_rate,
            epochs=how.epochs,
            rng=Generator().manual_seed(1),
            loss=loss,
            keeper=memory,
            validate=lambda m: ranks.first(lambda: {"rows": float(len(next(m.parameters())))}),
        )
    return weights_of(model, loss)


def network() -> nn.Module:
    torch.manual_seed(0)
    return EmbeddingNN([N_USERS + 1, N_ITEMS + 1], widths=4, layers=[8], d_out=1)


def product() -> nn.Module:
    torch.manual_seed(0)
    return DotProductBias([N_USERS + 1, N_ITEMS + 1], factors=4)


@pytest.mark.parametrize("spread_rows", [None, 10])
@pytest.mark.parametrize("build", [network, product])
def test_a_group_of_one_trains_as_one_process_and_goes_on_from_its_state(
    build: Any, spread_rows: int | None, group: Group, tmp_path: Path
) -> None:
    update: Any = "dense" if spread_rows is None else "replay"
    alone = fitted(build(), ALONE, update=update)
    ranks = TogetherRanks(group)
    memory = Memory(ranks, tmp_path / "state.ranks", keep_at=4)
    found = fitted(build(), ranks, memory=memory, update="auto", spread_rows=spread_rows)
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    memory = Memory(ranks, tmp_path / "state.ranks")
    again = fitted(build(), ranks, memory=memory, update="auto", spread_rows=spread_rows)
    assert all(torch.equal(again[name], value) for name, value in found.items())
    written = [path.suffix for path in (tmp_path / "state.ranks").iterdir()]
    assert sorted(written) == [".json", ".safetensors"]


def test_what_several_processes_cannot_do_is_refused(group: Group) -> None:
    ranks = TogetherRanks(group)
    with pytest.raises(SpecError, match=r"train.engine: fused steps are taken by one process"):
        fitted(product(), ranks, engine="fused")
    with pytest.raises(SpecError, match=r"train.shard: .* but train.update is dense"):
        fitted(product(), ranks, update="dense", spread_rows=10)
    with (
        pytest.raises(SpecError, match=r"normalises batches by a BatchNorm2d"),
        by_whole_batch(nn.Sequential(nn.BatchNorm2d(3)), group, Filling()),
    ):
        pass
