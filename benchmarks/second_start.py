"""How long a fit of a large file takes to its first step, the first time and from the cache.

    python benchmarks/second_start.py              # 2M rows; files and cache in a scratch folder
    python benchmarks/second_start.py 20_000_000

Each start is a process of its own on one thread: wall seconds, and CPU-seconds, from the call of
`fit` to the first training step, imports apart; then by how much the process's peak memory grew.
`without` has the cache switched off, `first` fills it, `second` finds it filled.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from ingest import peak, write

SPEC = {
    "tabcf": 1,
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 32, "y_range": [0, 5.5]}},
    "train": {"epochs": 1, "batch_size": 8192},
}


class Reached(Exception):
    """The first step."""


def start(path: Path, *, cache: bool) -> tuple[float, float, float]:
    """Wall seconds and CPU-seconds to the first step, and MB."""
    import tabcf
    from tabcf.run.progress import Silent

    class UntilFirst(Silent):
        def step(self) -> None:
            raise Reached

    few = path.parent / "few" / path.name
    tabcf.fit(SPEC, few)  # what is imported or set up at first use
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.suppress(Reached):
        tabcf.fit(SPEC, path, progress=UntilFirst(), cache=cache)
    return time.perf_counter() - wall, time.process_time() - cpu, peak() - before


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    processes = multiprocessing.get_context("spawn")
    print(f"{n:,} rows; from the call of fit to the first step")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TABCF_CACHE"] = str(Path(folder) / "cache")
        write(Path(folder), n)
        (Path(folder) / "few").mkdir()
        write(Path(folder) / "few", 2_000)
        for name in ("int.csv", "int.parquet", "text.csv"):
            for label, cache in (("without", False), ("first", True), ("second", True)):
                with processes.Pool(1) as pool:
                    wall, cpu, grown = pool.apply(start, (Path(folder) / name,), {"cache": cache})
                print(f"{name:12} {label:8} {wall:6.2f} s  {cpu:6.2f} CPU-s  {grown:6.0f} MB")


if __name__ == "__main__":
    main()
