"""A fit within a memory budget beside the same fit in memory, over planted ratings.

    python benchmarks/larger_than_memory.py              # 1M rows; the file is in a scratch folder
    python benchmarks/larger_than_memory.py 20_000_000 --memory 1.5GB
    python benchmarks/larger_than_memory.py 5_000_000 --memory 900MB --loss bpr

Each fit is `tabcf fit` in a process of its own on one thread, of a dot product with biases over a
Parquet file with users, items, half stars and a column that nobody asked for; a random tenth
validates and another one tests. With `--loss bpr` (or `sampled_softmax`, `softmax`) positives are
events of three and a half stars and more, negatives are drawn by popularity, and lists of ten are
measured after each epoch and on the test rows.

Rows of the fit in memory are shuffled by the same chunks, so that both learn from the same batches:
weights and metrics are to be equal to the last bit. The cache is in a scratch folder: the first fit
of each kind fills it, and the fit within the budget is done a second time from there. Shown are the
process's peak memory (VmHWM, which counts what is mapped), user CPU-seconds of the whole fit and of
its training, and the first test metric.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SPEC = """
tabcf: 1
data: ratings.parquet
entities: {{user: {{id: user_id}}, item: {{id: item_id}}}}
{task}
split: random
train: {{epochs: {epochs}, batch_size: 2048, checkpoint: null{shuffle}{memory}}}
"""
RATED = """target: rating
model: {dot_product_bias: {factors: 16, y_range: [0, 5.5]}}"""
RANKED = """target: {{implicit: {{positive: rating >= 3.5}}}}
loss: {loss}
{negatives}model: {{dot_product_bias: {{factors: 16}}}}"""
DRAWN = "negatives: {popularity: {n: 1, power: 0.5}}\n"
BLOCK = 1 << 18
MAIN = r"""
import json, os, re, sys
from pathlib import Path
from tabcf.cli import main
result = Path(sys.argv[1])
sys.argv = ["tabcf", *sys.argv[2:]]
try:
    main()
finally:
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
    result.write_text(json.dumps([int(peak) / 1024, os.times().user]))
"""


def write(path: Path, n: int) -> None:
    """Ratings of what users and items have in common; users and items as in MovieLens-20M."""
    rng = np.random.default_rng(0)
    n_users, n_items = max(n // 144, 100), min(27_000, max(n // 40, 50))
    users, items = (rng.normal(0, 0.6, (m, 4)).astype(np.float32) for m in (n_users, n_items))
    bias = rng.normal(0, 0.4, n_items).astype(np.float32)
    writer = None
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        user = rng.integers(0, n_users, rows)
        item = (n_items * rng.random(rows) ** 2).astype(np.int64)
        score = 3.2 + bias[item] + (users[user] * items[item]).sum(1) + rng.normal(0, 0.6, rows)
        table = pa.table(
            {
                "user_id": user + 1,
                "item_id": item + 1,
                "rating": np.clip(np.round(score * 2) / 2, 0.5, 5),
                "timestamp": 800_000_000 + start + np.arange(rows),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def run(folder: Path, *arguments: str) -> tuple[float, float]:
    """Peak MB and user CPU-seconds of `tabcf ARGUMENTS`."""
    result = folder / "result.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TABCF_CACHE": str(folder / "cache")}
    subprocess.run(
        [sys.executable, "-c", MAIN, str(result), *arguments],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    peak, user = json.loads(result.read_text())
    return peak, user


def spec(loss: str, epochs: int, memory: str) -> str:
    """The spec of a fit; `memory` is what it may take, or empty."""
    is_of_users = loss == "softmax"  # which are not shuffled by chunks
    task = RATED
    if loss != "mse":
        task = RANKED.format(loss=loss, negatives="" if is_of_users else DRAWN)
    return SPEC.format(
        task=task,
        epochs=epochs,
        shuffle="" if is_of_users else ", shuffle: {chunk: 4096}",
        memory=f", memory: {memory}" if memory else "",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--memory", default="1.5GB")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--loss", default="mse")
    parser.add_argument("--only", choices=["memory", "disk"])
    arguments = parser.parse_args()
    n = arguments.n
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "ratings.parquet", n)
        size = (folder / "ratings.parquet").stat().st_size / 1e6
        print(f"{n:,} rows, {size:,.0f} MB of Parquet; {arguments.loss}, {arguments.epochs} epochs")
        for kind, memory in (("memory", ""), ("disk", arguments.memory), ("again", "")):
            if arguments.only not in (None, kind, {"again": "disk"}.get(kind)):
                continue
            file = f"{kind}.yaml" if kind != "again" else "disk.yaml"
            if kind != "again":
                text = spec(arguments.loss, arguments.epochs, memory)
                (folder / file).write_text(text)
            peak, user = run(folder, "fit", file, "--out", f"{kind}-run", "--quiet")
            report = json.loads((folder / f"{kind}-run" / "report.json").read_text())
            weights = (folder / f"{kind}-run" / "weights.safetensors").read_bytes()
            epochs = report["epochs"]
            found[kind] = hashlib.sha256(weights).hexdigest()[:12], report["test"]
            training = sum(epoch["seconds"] for epoch in epochs)
            metric, value = next(iter(report["test"].items()))
            print(
                f"fit, {kind:7} peak {peak:6,.0f} MB   user {user:6.1f} s   training "
                f"{training:6.1f} s wall   {1e9 * user / n / arguments.epochs:5.0f} ns a row   "
                f"test {metric} {value:.6f}   weights {found[kind][0]}",
                flush=True,
            )
        print(f"same weights and metrics: {len({repr(f) for f in found.values()}) == 1}")


if __name__ == "__main__":
    main()
