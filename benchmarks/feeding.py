"""What it costs to feed steps from rows on disk, and time per example as rows grow.

    python benchmarks/feeding.py                       # 1M and 4M rows
    python benchmarks/feeding.py 1_000_000 20_000_000

Rows of 6,000 users and 3,700 items lie on disk and are shuffled by chunks. User CPU-seconds on one
thread, the lesser of two epochs: of drawing all batches alone, and of an epoch of steps with them:
compiled steps of a dot product (50 factors, batches of 512), and steps of torch of a network
(layers 100 and 50, batches of 2,048; its epoch is cut off after 200 batches, which are drawn alone
as well). Feeding is shown as a share of the rest of the epoch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Generator

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.disk_table import DiskTable
from tabcf.data.order import Chunks
from tabcf.losses import MSE
from tabcf.nn import DotProductBias, EmbeddingNN
from tabcf.training.fused.compiled_steps import CompiledSteps
from tabcf.training.fused.problem import pair_problem
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import AdamW, Decay, decay_groups
from tabcf.training.steps import EagerSteps, Rate

SIZES = (6_041, 3_707)
TARGET = TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,))
BLOCK, BATCHES = 1 << 18, 200


def on_disk(n: int) -> Table:
    rng = np.random.default_rng(0)
    written = DiskTable()
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        users, items = (torch.from_numpy(rng.integers(1, m, rows, dtype=np.int32)) for m in SIZES)
        events = Inputs(torch.zeros(rows, 0, dtype=torch.int32), torch.zeros(rows, 0))
        target = torch.from_numpy(rng.random(rows, dtype=np.float32))
        written.append(Table({"user": users, "item": items}, events, target=target))
    entities = {
        name: EntityTable(Inputs(torch.arange(m, dtype=torch.int32)[:, None], torch.zeros(m, 0)))
        for name, m in zip(("user", "item"), SIZES, strict=True)
    }
    return written.opened(entities)


def least(epoch: Callable[[], Any], n: int) -> float:
    """Nanoseconds of user time an example."""
    found = []
    for _ in range(2):
        started = os.times().user
        epoch()
        found.append(os.times().user - started)
    return 1e9 * min(found) / n


def spend(batches: Iterator[Any], n: int | None = None) -> None:
    for _ in islice(batches, n):
        pass


def shown(what: str, n: int, feeding: float, whole: float) -> None:
    share = feeding / max(whole - feeding, 1e-9)
    print(
        f"{n:>12,} rows  {what:9} feeding {feeding:6.1f} ns, epoch {whole:7.1f} ns an example: "
        f"{share:6.1%} of the steps"
    )


def measure(n: int) -> None:
    table, rng = on_disk(n), Generator().manual_seed(0)
    model, loss = DotProductBias(list(SIZES), factors=50), MSE(TARGET)
    objective = PointwiseObjective(table, model, loss, batch_size=512, chunks=Chunks())
    problem = pair_problem(objective)
    steps = CompiledSteps(problem, decay_groups([*model.parameters()], [], {}, Decay(0.01)))
    rates = [Rate(1e-3, 0.9)] * steps.n_steps
    next(iter(steps.epoch(rates, rng)))  # compiles
    feeding = least(lambda: spend(problem.blocks(rng)), n)
    shown("compiled", n, feeding, least(lambda: spend(steps.epoch(rates, rng)), n))

    network = EmbeddingNN(list(SIZES), layers=[100, 50])
    fed = PointwiseObjective(table, network, loss, batch_size=2048, chunks=Chunks())
    pieces = decay_groups([*network.parameters()], [], {}, Decay(0.01))
    eager = EagerSteps(network, fed, AdamW(pieces))
    of_network = [Rate(1e-3, 0.9)] * eager.n_steps
    rows = min(BATCHES * 2048, n)
    feeding = least(lambda: spend(fed.epoch(rng), BATCHES), rows)
    shown("torch", n, feeding, least(lambda: spend(eager.epoch(of_network, rng), BATCHES), rows))


def main() -> None:
    torch.set_num_threads(1)
    for n in [int(text) for text in sys.argv[1:]] or [1_000_000, 4_000_000]:
        measure(n)


if __name__ == "__main__":
    main()
