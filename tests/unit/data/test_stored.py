"""Encoded rows on disk are the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import Table
from tabcf.data.stored import arrays_of, map_arrays, open_arrays, table_of, write_arrays


def table() -> Table:
    bags = (
        Bag(torch.tensor([4, 2, 7], dtype=torch.int32), torch.tensor([0, 2, 2])),
        Bag(torch.tensor([1]), torch.tensor([0, 0, 1]), torch.tensor([0.5])),
    )
    return Table(
        rows={"user": torch.tensor([1, 2, 3], dtype=torch.int32)},
        events=Inputs(torch.zeros(3, 0, dtype=torch.int32), torch.arange(6.0).view(3, 2), bags),
        target=torch.tensor([1.0, 2.0, 3.0]),
        left_out={1: torch.tensor([0, 0, 9], dtype=torch.int32)},
    )


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_arrays(tmp_path, arrays_of(table()))
    found, expected = table_of(open_arrays(tmp_path), {}), table()
    assert len(found) == 3
    assert found.weight is None
    torch.testing.assert_close(found.target, expected.target, rtol=0, atol=0)
    torch.testing.assert_close(found.rows["user"], expected.rows["user"])
    torch.testing.assert_close(found.left_out[1], expected.left_out[1])
    for own, other in zip(found.events[:2], expected.events[:2], strict=True):
        torch.testing.assert_close(own, other)
    for own, other in zip(found.events.x_sets, expected.events.x_sets, strict=True):
        assert own.weights is None or own.weights.tolist() == [0.5]
        torch.testing.assert_close(own.values, other.values)
        torch.testing.assert_close(own.offsets, other.offsets)


def test_changes_stay_in_memory(tmp_path: Path) -> None:
    write_arrays(tmp_path, {"x": np.arange(3)})
    torch.from_numpy(open_arrays(tmp_path)["x"]).add_(1)
    assert open_arrays(tmp_path)["x"].tolist() == [0, 1, 2]


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path, {"x": np.arange(1000)})
    (tmp_path / "0.npy").write_bytes((tmp_path / "0.npy").read_bytes()[:500])
    with pytest.raises(ValueError, match="buffer is smaller"):
        open_arrays(tmp_path)


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_arrays(tmp_path, {"x": np.array(["a", None])})


def test_what_is_on_disk_is_copied_some_rows_at_a_time_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabcf.data.stored._COPIED", 50)
    arrays = {
        "times": np.arange(40).astype("datetime64[s]"),
        "pairs": np.arange(24, dtype=np.int32).reshape(8, 3),
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "none": np.zeros((0, 2)),
    }
    released: list[int] = []
    (tmp_path / "whole").mkdir()
    write_arrays(tmp_path / "whole", arrays)
    (tmp_path / "parts").mkdir()
    write_arrays(tmp_path / "parts", arrays, release=lambda: released.append(1))
    assert len(released) > 5
    for position in range(len(arrays)):
        file = f"{position}.npy"
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    mapped = map_arrays(tmp_path / "parts")
    for _ in range(2):
        for name, array in arrays.items():
            np.testing.assert_array_equal(mapped.arrays[name], array, strict=True)
        mapped.release()
