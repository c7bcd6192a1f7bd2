"""Frames in files of a folder: numbers as raw arrays, all else in Arrow's format; both are mapped.

What is read has the same types and values as what was written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.source import Source
from tabcf.data.stored import open_arrays, write_arrays

__all__ = ["can_be_written", "open_frame", "open_source", "write_frame", "write_source"]

_ABOUT, _REST = "frame.json", "rest.arrow"


def can_be_written(frame: pd.DataFrame) -> bool:
    """Whether each column has a type that comes back as it was: numbers, text, times.

    Columns of Python's objects, such as lists, do not.
    """
    return all(_is_plain(dtype) or _is_arrow(dtype) for dtype in frame.dtypes)


def write_frame(folder: Path, frame: pd.DataFrame) -> None:
    """Write a frame with plain row numbers into a folder, which is made.

    Raises:
        OSError: It cannot be written.
    """
    import pyarrow as pa

    folder.mkdir()
    plain = [name for name in frame.columns if _is_plain(frame[name].dtype)]
    write_arrays(folder, {name: frame[name].to_numpy() for name in plain})
    rest = [name for name in frame.columns if name not in plain]
    if rest:
        table = pa.Table.from_pandas(frame[rest], preserve_index=False)
        with (
            pa.OSFile(str(folder / _REST), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table)
    about = {"columns": list(frame.columns), "rows": len(frame)}
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def open_frame(folder: Path) -> pd.DataFrame:
    """The frame; its rows are read from disk when they are looked at.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged.
    """
    import pyarrow as pa

    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    columns: dict[str, Any] = dict(open_arrays(folder))
    if len(columns) < len(about["columns"]):
        with pa.memory_map(str(folder / _REST)) as file:
            rest = pa.ipc.open_file(file).read_all().to_pandas()
        columns |= {name: rest[name] for name in rest.columns}
    made = {name: columns[name] for name in about["columns"]}
    return pd.DataFrame(made, index=range(about["rows"]), copy=False)


def write_source(folder: Path, source: Source) -> None:
    """Write a source's rows, and what they are called, into a folder, which is made."""
    write_frame(folder, source.frame)
    about = {
        "name": source.name,
        "is_text": source.is_text,
        "first_line": source.first_line,
        "all_columns": source.all_columns,
    }
    (folder / "source.json").write_text(json.dumps(about), encoding="utf-8")


def open_source(folder: Path) -> Source:
    """The source that `write_source` wrote."""
    about = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    about["all_columns"] = tuple(about["all_columns"])
    return Source(open_frame(folder), **about)


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biufmM"


def _is_arrow(dtype: Any) -> bool:
    return dtype in (pd.StringDtype(na_value=np.nan), pd.Int64Dtype())
