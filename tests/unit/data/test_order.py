"""Epochs in chunks: each row once, and the same in memory and on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import batches_in_order, shuffled_batches, take
from tabcf.data.disk import DiskArray
from tabcf.data.disk_table import DiskTable
from tabcf.data.order import Chunks, shuffled
from tabcf.errors import DataError

ENTITIES = {
    name: EntityTable(Inputs(torch.arange(n, dtype=torch.int32)[:, None], torch.rand(n, 2)))
    for name, n in (("user", 9), ("item", 7))
}


def table(n: int) -> Table:
    """Rows whose target is their number."""
    rng = Generator().manual_seed(n)
    return Table(
        {
            "user": torch.randint(0, 9, (n,), generator=rng).int(),
            "item": torch.randint(0, 7, (n,), generator=rng).int(),
        },
        Inputs(torch.randint(0, 5, (n, 3), generator=rng).int(), torch.rand(n, 1)),
        ENTITIES,
        torch.arange(n).float(),
        torch.rand(n),
    )


def on_disk(whole: Table, block: int = 50) -> Table:
    written = DiskTable()
    for positions in torch.arange(len(whole)).split(block):
        written.append(take(whole, positions))
    return written.opened(whole.entities)


@given(
    n=st.integers(0, 300),
    batch_size=st.integers(1, 70),
    chunks=st.none() | st.builds(Chunks, st.integers(1, 60), st.integers(1, 5)),
    is_on_disk=st.booleans(),
    seed=st.integers(0, 99),
)
def test_an_epoch_has_each_row_once_and_whole_batches(
    n: int, batch_size: int, chunks: Chunks | None, is_on_disk: bool, seed: int
) -> None:
    whole = on_disk(table(n)) if is_on_disk and chunks else table(n)
    parts = list(shuffled(whole, batch_size, Generator().manual_seed(seed), chunks))
    assert all(len(positions) % batch_size == 0 for _, positions in parts[:-1])
    rows = [part.target[positions] for part, positions in parts if part.target is not None]
    assert torch.cat([torch.zeros(0), *rows]).sort().values.tolist() == list(range(n))


def test_each_epoch_has_another_order_and_mixes_far_rows() -> None:
    rng, whole = Generator().manual_seed(1), table(4000)
    first, second = (
        torch.cat([positions for _, positions in shuffled(whole, 20, rng, Chunks(40, 10))])
        for _ in range(2)
    )
    assert not torch.equal(first, second)
    # A window of ten chunks that were drawn from all over the table.
    assert all(window.max() - window.min() > 1500 for window in first.split(400))


@pytest.mark.parametrize("masking", [(), (0.3, 0.0, 0.2, 0.2, 0.2)])
def test_rows_on_disk_make_the_batches_of_rows_in_memory(masking: tuple[float, ...]) -> None:
    whole = table(1001)
    in_memory, read = (
        list(
            shuffled_batches(
                rows, 16, Generator().manual_seed(3), masking=masking, chunks=Chunks(20, 7)
            )
        )
        for rows in (whole, on_disk(whole))
    )
    assert len(in_memory) == len(read) == 63
    for own, its in zip(in_memory, read, strict=True):
        for a, b in zip(
            (*own.inputs[:2], own.target, own.weight),
            (*its.inputs[:2], its.target, its.weight),
            strict=True,
        ):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b)


def test_a_table_on_disk_is_read_in_order_and_again_after_it_was_let_go() -> None:
    whole = table(300)
    read = on_disk(whole)
    for _ in range(2):
        own = torch.cat([inputs.x_cont for inputs in batches_in_order(read, 64)])
        assert torch.equal(
            own, torch.cat([inputs.x_cont for inputs in batches_in_order(whole, 64)])
        )
        assert read.release is not None
        read.release()
    assert torch.equal(read.rows["user"], whole.rows["user"])


def test_no_rows_on_disk_are_a_table_without_rows() -> None:
    assert len(on_disk(table(0))) == 0
    assert list(shuffled(replace(on_disk(table(0))), 4, Generator(), Chunks())) == []


def test_an_array_gets_the_type_that_all_its_blocks_fit() -> None:
    array = DiskArray()
    array.append(np.array([1, 2], np.int32))
    array.append(np.array([1 << 40]))
    array.append(np.array([0.5]))
    assert array.opened().tolist() == [1.0, 2.0, float(1 << 40), 0.5]
    times = np.array(["2024-01-02", "NaT"], "datetime64[us]")
    array = DiskArray()
    array.append(times)
    np.testing.assert_array_equal(array.opened(), times)


def test_a_disk_that_cannot_be_written_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="TMPDIR names another folder"):
        DiskArray(tmp_path / "missing").append(np.zeros(3))
