"""Reading ratings and encoding their ids: tabcf beside pyarrow and pandas.

    python benchmarks/ingest.py              # 2M rows; the files are made in a scratch folder
    python benchmarks/ingest.py 20_000_000

Each reader runs in a process of its own on one thread: user CPU-seconds, the less of two runs,
from the open file to int32 rows of users and items and float32 ratings, and by how much the
process's peak memory grew. The system's own seconds, mostly for new pages, vary too much to show.
tabcf types each column itself, checks its values and keeps the frame; the others are told the
types.

- pyarrow: whole numbers by a look-up table as long as the largest id; for Parquet in batches.
- factorize: pandas reads, then `pandas.factorize`s both ids; the bar for ids that are text.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tabcf.data.entities import EntityPlan, build_entity
from tabcf.data.sources import read_source

Read = Callable[[Path], tuple[np.ndarray, ...]]
IDS = ("user_id", "item_id")
BARS = {"csv int": 1.3, "parquet int": 1.3, "csv text": 1.2, "parquet text": 1.2}


def write(folder: Path, n: int) -> None:
    """Planted ratings in four files; users and items as in MovieLens-20M, a tail of rare ones."""
    rng = np.random.default_rng(0)
    users = rng.integers(1, max(n // 144, 2), n)
    items = (27_000 * rng.random(n) ** 3).astype(np.int64) + 1
    ratings = rng.integers(1, 11, n) / 2
    texts = [
        pc.binary_join_element_wise(letter, pa.array(ids).cast(pa.string()), "-")
        for letter, ids in zip("ui", (users, items), strict=True)
    ]
    for kind, columns in (("int", [pa.array(users), pa.array(items)]), ("text", texts)):
        table = pa.Table.from_arrays([*columns, pa.array(ratings)], names=[*IDS, "rating"])
        pq.write_table(table, folder / f"{kind}.parquet")
        pa_csv.write_csv(table, folder / f"{kind}.csv", pa_csv.WriteOptions(quoting_style="none"))


def with_tabcf(path: Path) -> tuple[np.ndarray, ...]:
    source = read_source(str(path))
    entities = [build_entity(EntityPlan(name, name), None, source) for name in IDS]
    rows = [entity.rows_in(source) for entity in entities]
    return *rows, source.frame["rating"].to_numpy(np.float32)


def _looked_up(columns: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Rows of ids in parts, numbered by size."""
    found = []
    for parts in columns:
        is_met = np.zeros(max(int(part.max()) for part in parts) + 1, dtype=bool)
        for part in parts:
            is_met[part] = True
        row = np.cumsum(is_met, dtype=np.int32)
        found.append(np.concatenate([row[part] for part in parts]))
    return tuple(found)


def with_pyarrow(path: Path) -> tuple[np.ndarray, ...]:
    if path.suffix == ".csv":
        types = {"user_id": pa.int32(), "item_id": pa.int32(), "rating": pa.float32()}
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False),
            convert_options=pa_csv.ConvertOptions(column_types=types),
        )
        batches = table.to_batches()
    else:
        batches = list(pq.ParquetFile(path).iter_batches(1 << 20, use_threads=False))
    ids = [[batch.column(name).to_numpy() for batch in batches] for name in IDS]
    rating = np.concatenate([batch.column("rating").to_numpy() for batch in batches])
    return *_looked_up(ids), rating.astype(np.float32)


def with_factorize(path: Path) -> tuple[np.ndarray, ...]:
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    rows = [(pd.factorize(frame[name])[0] + 1).astype(np.int32) for name in IDS]
    return *rows, frame["rating"].to_numpy(np.float32)


def peak() -> float:
    """MB of this process at most so far; Linux's own count, as getrusage has the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def measured(read: Read, path: Path) -> tuple[float, float, tuple[int, ...]]:
    """CPU-seconds, MB, and the distinct users and items, by which the readers are compared."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    read(path.parent / "few" / path.name)  # what is imported or set up at first use
    before = peak()
    started = os.times().user
    found = read(path)
    taken = os.times().user - started
    return taken, peak() - before, tuple(len(np.unique(rows)) for rows in found)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    processes = multiprocessing.get_context("spawn")
    print(f"{n:,} rows; user CPU-seconds, MB above the start, seconds of tabcf beside the peer")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n)
        (Path(folder) / "few").mkdir()
        write(Path(folder) / "few", 2_000)
        for case, bar in BARS.items():
            ending, kind = case.split()
            path = Path(folder) / f"{kind}.{ending}"
            name, peer = (
                ("pyarrow", with_pyarrow) if kind == "int" else ("factorize", with_factorize)
            )
            found = []
            for read in (with_tabcf, peer):
                runs = []
                for _ in range(2):
                    with processes.Pool(1) as pool:
                        runs.append(pool.apply(measured, (read, path)))
                found.append(min(runs))
            (own, own_mb, distinct), (its, its_mb, expected) = found
            assert distinct == expected, f"{case}: {distinct} distinct values, {name} {expected}"
            print(
                f"{case:13} tabcf {own:6.2f} s {own_mb:6.0f} MB   {name:9} {its:6.2f} s "
                f"{its_mb:6.0f} MB   {own / its:5.2f}x (bar {bar}x)"
            )


if __name__ == "__main__":
    main()
