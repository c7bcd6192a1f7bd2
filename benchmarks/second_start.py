"""How long a fit of a large file takes to its first step, the first time and from the cache.

    python benchmarks/second_start.py              # 2M rows; files and cache in a scratch folder
    python benchmarks/second_start.py 20_000_000
    python benchmarks/second_start.py 20_000_000 --memory 1.5GB --files int.parquet

Each start is a process of its own on one thread: wall seconds, and CPU-seconds, from the call of
`fit` until training begins and until its first step is done, for which an epoch's order is drawn;
imports apart. Then by how much the process's peak memory grew.
`without` has the cache switched off, `first` fills it, `second` finds it filled. With a memory
budget, `--memory 1.5GB`, the same of fits within it, whose rows stay on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
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


Spent = tuple[float, float]
"""Wall seconds and CPU-seconds."""


def start(path: Path, *, cache: bool, memory: str | None) -> tuple[Spent, Spent, float]:
    """What it takes until training begins and until its first step is done, and MB."""
    import tabcf
    from tabcf.run.progress import Silent

    marks: list[Spent] = []

    class UntilFirst(Silent):
        def start(self, epochs: int, n_steps: int) -> None:
            marks.append((time.perf_counter(), time.process_time()))

        def step(self) -> None:
            marks.append((time.perf_counter(), time.process_time()))
            raise Reached

    # What is imported, compiled or set up at first use.
    tabcf.fit(SPEC, path.parent / "few" / path.name)
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.suppress(Reached):
        tabcf.fit(SPEC, path, progress=UntilFirst(), cache=cache, memory=memory)
    begun, stepped = ((mark[0] - wall, mark[1] - cpu) for mark in marks)
    return begun, stepped, peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=2_000_000)
    parser.add_argument("--memory")
    parser.add_argument("--files", nargs="+", default=["int.csv", "int.parquet", "text.csv"])
    arguments = parser.parse_args()
    n = arguments.n
    processes = multiprocessing.get_context("spawn")
    print(f"{n:,} rows; wall seconds (CPU-seconds) from the call of fit; MB above the start")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TABCF_CACHE"] = str(Path(folder) / "cache")
        write(Path(folder), n)
        (Path(folder) / "few").mkdir()
        write(Path(folder) / "few", 2_000)
        for name in arguments.files:
            for label, cache in (("without", False), ("first", True), ("second", True)):
                with processes.Pool(1) as pool:
                    options = {"cache": cache, "memory": arguments.memory}
                    found = pool.apply(start, (Path(folder) / name,), options)
                show(name, label, *found)


def show(name: str, label: str, begun: Spent, stepped: Spent, grown: float) -> None:
    said = "  ".join(
        f"{what} {wall:6.2f} s ({cpu:5.2f})"
        for what, (wall, cpu) in (("training begins", begun), ("first step", stepped))
    )
    print(f"{name:12} {label:8} {said}  {grown:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()
