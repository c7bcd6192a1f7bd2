"""Reading a file of ratings and building a data set of it: tabcf beside RecBole.

    pip install recbole
    python benchmarks/vs_recbole.py              # 1M rows; the files are made in a scratch folder

Each runs in a process of its own on one thread: user CPU-seconds, and by how much the process's
peak memory grew, from the open file to encoded ids and ratings. RecBole reads its own text format,
with types in the header, and is asked for a data set without filters; nothing is split or trained.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from ingest import peak, with_tabcf, write


def recbole(folder: Path, name: str) -> tuple[int, int]:
    """Its data set's users and items."""
    import numpy as np

    # RecBole 1.2.1 asks for names that numpy 2 no longer has.
    for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, old, new)
    from recbole.config import Config
    from recbole.data import create_dataset

    config = Config(
        model="BPR",
        dataset=name,
        config_dict={
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "rating"]},
            "show_progress": False,
            "state": "ERROR",
            "checkpoint_dir": str(folder),
        },
    )
    found = create_dataset(config)
    return found.user_num - 1, found.item_num - 1


def tabcf(folder: Path, name: str) -> tuple[int, int]:
    rows = with_tabcf(folder / f"{name}.csv")
    return int(rows[0].max()), int(rows[1].max())


def measured(read: object, folder: Path) -> tuple[float, float, tuple[int, int]]:
    """CPU-seconds, MB, and the numbers of users and items, by which both are compared."""
    os.chdir(folder)  # where RecBole writes its log
    sys.argv = sys.argv[:1]  # which RecBole reads
    read(folder, "few")
    before = peak()
    started = os.times().user
    found = read(folder, "int")
    return os.times().user - started, peak() - before, found


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, n)
        lines = (folder / "int.csv").read_text().split("\n", 1)[1]
        header = "user_id:token\titem_id:token\trating:float\n"
        (folder / "few.csv").write_text(
            "user_id,item_id,rating\n" + lines[:20_000].rpartition("\n")[0]
        )
        for name in ("int", "few"):
            (folder / name).mkdir()
            own = (folder / f"{name}.csv").read_text().split("\n", 1)[1].replace(",", "\t")
            (folder / name / f"{name}.inter").write_text(header + own)
        found = []
        for read in (tabcf, recbole):
            with processes.Pool(1) as pool:
                found.append(pool.apply(measured, (read, folder)))
            print(f"{read.__name__:8} {found[-1][0]:6.2f} s {found[-1][1]:6.0f} MB", flush=True)
        assert found[0][2] == found[1][2], found
        print(f"{n:,} rows; RecBole takes {found[1][0] / found[0][0]:.1f} times as long")


if __name__ == "__main__":
    main()
