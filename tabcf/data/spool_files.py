"""A source's rows on disk as files of a folder, to be found there again.

columns/      the columns' arrays
texts-0/ ...  the different values of each column of text
spool.json    what is what
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tabcf.data.frames import open_frame, write_frame
from tabcf.data.spool import Spool
from tabcf.data.stored import map_arrays, write_arrays

__all__ = ["open_spool", "write_spool"]

_ABOUT, _TEXT = "spool.json", "text"


def write_spool(folder: Path, spool: Spool) -> None:
    """Write the rows into a folder, which is made, some at a time.

    Raises:
        OSError: It cannot be written.
    """
    (folder / "columns").mkdir(parents=True)
    write_arrays(folder / "columns", spool.columns, release=spool.release)
    for position, values in enumerate(spool.texts.values()):
        texts = pd.Series(values, dtype="str").to_frame(_TEXT)
        write_frame(folder / f"texts-{position}", texts)
    about = {
        "name": spool.name,
        "is_text": spool.is_text,
        "first_line": spool.first_line,
        "texts": list(spool.texts),
        "dtypes": {name: dtype.str for name, dtype in spool.dtypes.items()},
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def open_spool(folder: Path) -> Spool:
    """The rows that `write_spool` wrote.

    Raises:
        OSError: A file is not there.
        ValueError: A file is damaged.
    """
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    mapped = map_arrays(folder / "columns")
    return Spool(
        about["name"],
        about["is_text"],
        about["first_line"],
        mapped.arrays,
        {
            name: open_frame(folder / f"texts-{position}")[_TEXT].to_numpy(dtype=object)
            for position, name in enumerate(about["texts"])
        },
        {name: np.dtype(text) for name, text in about["dtypes"].items()},
        mapped.release,
    )
