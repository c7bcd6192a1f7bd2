"""Rows of files divided among processes: each once, evenly, and in an order that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabcf.data.shares import Share
from tabcf.errors import DataError

N = 1000


def frame() -> pd.DataFrame:
    return pd.DataFrame({"row": np.arange(N), "text": [f"t{n % 7}" for n in range(N)]})


def read(source: Path, size: int) -> tuple[list[pd.DataFrame], Share]:
    """The rows of each process, and what one of them knows of all."""
    found, shares = [], []
    for rank in range(size):
        share = Share(rank, size)
        batches = [batch.frame for batch in share.batches(str(source), columns=["row"])]
        found.append(pd.concat(batches, ignore_index=True))
        shares.append(share)
        assert share.own == [piece.n for piece in share.pieces if piece.rank == rank]
        assert sum(share.own) == len(found[-1])
        assert all(list(batch.columns) == ["row"] for batch in batches)
    assert all(share.pieces == shares[0].pieces for share in shares)
    return found, shares[0]


def in_order(found: list[pd.DataFrame], share: Share) -> list[int]:
    """All rows, put together as the pieces say."""
    starts, rows = [0] * len(found), []
    for piece in share.pieces:
        own = found[piece.rank]["row"]
        rows += own[starts[piece.rank] : starts[piece.rank] + piece.n].tolist()
        starts[piece.rank] += piece.n
    return rows


@pytest.mark.parametrize("size", [1, 2, 3])
def test_row_groups_are_dealt_out(size: int, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "data.parquet", row_group_size=50)
    found, share = read(tmp_path / "data.parquet", size)
    assert in_order(found, share) == list(range(N))
    assert {piece.n for piece in share.pieces} == {50}
    assert [piece.rank for piece in share.pieces] == [n % size for n in range(20)]


@pytest.mark.parametrize("row_group_size", [N, 400])
def test_too_few_or_uneven_row_groups_are_cut(row_group_size: int, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "data.parquet", row_group_size=row_group_size)
    found, share = read(tmp_path / "data.parquet", 3)
    assert in_order(found, share) == list(range(N))
    assert max(map(len, found)) - min(map(len, found)) <= 3


def test_large_row_groups_are_sent_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabcf.data.shares.ROWS", 30)
    frame().to_parquet(tmp_path / "data.parquet", row_group_size=100)
    found, share = read(tmp_path / "data.parquet", 2)
    assert in_order(found, share) == list(range(N))
    assert [piece.n for piece in share.pieces[:4]] == [30, 30, 30, 10]


def test_text_files_are_cut(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "data.csv", index=False)
    found, share = read(tmp_path / "data.csv", 3)
    assert in_order(found, share) == list(range(N))
    assert list(map(len, found)) == [333, 333, 334]


def test_several_files_and_folders_by_a_column(tmp_path: Path) -> None:
    for part in range(4):
        for folder in (tmp_path / "files", tmp_path / f"by/part={part}"):
            folder.mkdir(exist_ok=True, parents=True)
            own = frame()[part * 250 : (part + 1) * 250]
            own.to_parquet(folder / f"{part}.parquet", row_group_size=125)
    for source in ("files", "by"):
        found, share = read(tmp_path / source, 2)
        assert in_order(found, share) == list(range(N))
        assert list(map(len, found)) == [500, 500]
    parts = [batch.frame["part"] for batch in Share(1, 2).batches(str(tmp_path / "by"))]
    assert sorted(pd.concat(parts).unique().tolist()) == [0, 1, 2, 3]


def test_a_file_with_other_columns_is_named_by_all(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.parquet")
    frame().rename(columns={"text": "words"}).to_parquet(tmp_path / "b.parquet")
    for rank in range(2):
        with pytest.raises(DataError, match=r"b.parquet: expected the columns of a.parquet"):
            list(Share(rank, 2).batches(str(tmp_path)))
