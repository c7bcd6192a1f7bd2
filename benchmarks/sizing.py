"""Memory and time on paper for 10^6 to 10^10 rows and 10^5 to 10^9 ids, from measured costs.

    pip install 'tabcf[fast]'
    python benchmarks/sizing.py            # measures some constants first, half a CPU-minute
    python benchmarks/sizing.py --width 32 --memory 256

What is measured, each in a process of its own on one thread: reading and encoding a Parquet file of
ratings with whole numbers as ids (costs of a row are the difference of 2M and 500,000 rows over
their number, so that what a process needs anyway is left out; seconds are user CPU); steps of a dot
product with biases, 64 wide, by compiled fused steps and by eager ones with touched rows, 8,192
events a batch, over tables of 1M rows; and what an id and an event take, by the arrays' own sizes.
Everything else is arithmetic: see `memory` and `hours`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.parts import TRAIN
from tabcf.losses import MSE
from tabcf.nn import DotProductBias
from tabcf.run.prepare import encode_split, load_events
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.training.engine import choose_engine
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import Decay, decay_groups
from tabcf.training.schedules import one_cycle
from tabcf.training.steps import Rate
from tabcf.training.store.rows import new_state

N_IDS, BATCH, N_STEPS = 1_000_000, 8_192, 60
SPEC = {
    "tabcf": 1,
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": "dot_product_bias",
    "split": {"random": {"test": 0.1}},
}


@dataclass(frozen=True)
class Costs:
    """Of one row or id: bytes, and user CPU-seconds."""

    read_seconds: float
    read_bytes: float
    kept_bytes: float
    fused_seconds: float
    eager_seconds: float
    id_bytes: float


def memory(costs: Costs, rows: float, ids: float, width: int) -> tuple[float, float]:
    """Bytes of a fit: of its rows, and of its ids with their part of the model.

    An id has a vector and a bias, as 32-bit floats, with two moments each, and the step that it was
    last brought up to in both tables: 4 · (width + 1) · 3 + 8.
    """
    return costs.read_bytes * rows, (costs.id_bytes + row_bytes(width)) * ids


def row_bytes(width: int) -> float:
    """What an id takes in the tables and in their optimiser, as that makes it."""
    total = 0
    for own in (width, 1):
        table: Any = torch.nn.Parameter(torch.zeros(1000, own))
        state = new_state(table, "replay", stops=[1000], own=[0])
        total += sum(tensor.nbytes for tensor in (state.value, state.moments, state.last))
    return total / 1000


def hours(costs: Costs, rows: float, epochs: int) -> tuple[float, float]:
    """CPU-hours of reading and of so many epochs, by fused steps and by eager ones."""
    read = costs.read_seconds * rows
    fused, eager = costs.fused_seconds * rows * epochs, costs.eager_seconds * rows * epochs
    return (read + fused) / 3600, (read + eager) / 3600


def measured() -> Costs:
    with tempfile.TemporaryDirectory() as folder:
        small, large = (
            _in_a_process(_read, written(Path(folder), n)) for n in (500_000, 2_000_000)
        )
    n = 1_500_000
    steps = {name: _in_a_process(_steps, name) for name in ("fused", "eager")}
    return Costs(
        (large["seconds"] - small["seconds"]) / n,
        (large["bytes"] - small["bytes"]) / n,
        large["kept"] / 2_000_000,
        steps["fused"]["seconds"],
        steps["eager"]["seconds"],
        large["of_ids"] / large["ids"],
    )


def written(folder: Path, n: int) -> Path:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 100_000, n), rng.integers(0, 20_000, n)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": rng.random(n) * 5})
    frame.to_parquet(folder / f"{n}.parquet", index=False)
    return folder / f"{n}.parquet"


def _read(path: Path) -> dict[str, float]:
    registry = compose_registry(("no:*",))
    document = read_spec(SPEC, registry)
    started, before = os.times().user, _peak()
    events = load_events(document.spec, document.registry, data=str(path))
    encoded = encode_split(document.spec, document.registry, events, TRAIN)
    seconds, peak = os.times().user - started, _peak() - before
    table = encoded.train
    tensors = [*table.rows.values(), table.events.x_cat, table.events.x_cont, table.target]
    kept = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    entities = encoded.train.entities.values()
    ids = sum(len(entity) for entity in entities)
    # The ids as read, sorted to be looked up, and the entity's columns.
    of_ids = sum(entity.inputs.x_cat.nbytes + 2 * 8 * len(entity) for entity in entities)
    return {
        "seconds": seconds,
        "bytes": peak,
        "kept": kept * len(events.part) / len(table),
        "ids": ids,
        "of_ids": of_ids,
    }


def _steps(name: str) -> dict[str, float]:
    n = BATCH * N_STEPS
    rng = torch.Generator().manual_seed(0)
    half = N_IDS // 2
    rows = {who: torch.randint(1, half, (n,), generator=rng).int() for who in ("user", "item")}
    ids = torch.arange(half, dtype=torch.int32)[:, None]
    blank = torch.zeros(half, 0)
    table = Table(
        rows=rows,
        events=Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0)),
        entities={who: EntityTable(Inputs(ids, blank)) for who in rows},
        target=torch.rand(n, generator=rng),
    )
    model = DotProductBias([half, half], factors=64)
    loss = MSE(TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,)))
    objective = PointwiseObjective(table, model, loss, batch_size=BATCH)
    engine = choose_engine(
        "fused" if name == "fused" else "eager",
        objective,
        model,
        pieces=decay_groups(model.parameters(), [], {}, Decay(0.01)),
        schedule=one_cycle(),
        learning_rate=5e-3,
        epochs=3,
    )
    print(f"{name}: {engine.note}")
    rates = [Rate(1e-3, 0.9)] * objective.n_steps
    taken = []
    for _ in range(3):
        started = os.times().user
        for _ in engine.steps.epoch(rates, rng):
            pass
        engine.steps.settle()
        taken.append((os.times().user - started) / n)
    return {"seconds": min(taken[1:])}


def _peak() -> int:
    """Peak memory of this process in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _in_a_process(work: Callable[[Any], dict[str, float]], given: Any) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, float] = pool.apply(_alone, (work, given))
    return found


def _alone(work: Callable[[Any], dict[str, float]], given: Any) -> dict[str, float]:
    torch.set_num_threads(1)
    return work(given)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--memory", type=float, default=64, help="GB of a machine")
    options = parser.parse_args()
    costs = measured()
    own = row_bytes(options.width)
    print(f"\nreading and encoding   {1e6 * costs.read_seconds:8.2f} CPU-s a million rows")
    print(f"                       {costs.read_bytes:8.0f} bytes a row at the peak")
    print(f"encoded rows           {costs.kept_bytes:8.0f} bytes a row")
    print(f"fused steps            {1e6 * costs.fused_seconds:8.2f} CPU-s a million events")
    print(f"eager steps            {1e6 * costs.eager_seconds:8.2f} CPU-s a million events")
    print(f"vocabulary             {costs.id_bytes:8.0f} bytes an id")
    print(f"tables, {options.width} wide        {own:8.0f} bytes an id, moments and all")
    print(f"\n{'rows':>8}{'memory, GB':>14}{'encoded, GB':>14}{'CPU-hours':>34}")
    for power in range(6, 11):
        rows = 10.0**power
        of_rows, _ = memory(costs, rows, 0, options.width)
        fused, eager = hours(costs, rows, options.epochs)
        kept = costs.kept_bytes * rows
        span = f"{fused:.3g} fused, {eager:.3g} eager"
        print(f"{f'10^{power}':>8}{of_rows / 1e9:>14.3g}{kept / 1e9:>14.3g}{span:>34}")
    print(f"\n{'ids':>8}{'memory, GB':>14}{'processes of ' + f'{options.memory:g} GB':>28}")
    for power in range(5, 10):
        ids = 10.0**power
        _, of_ids = memory(costs, 0, ids, options.width)
        tables = own * ids
        # A table may take half of a machine, and its vocabulary is in every one.
        n = max(1, -(-tables // (options.memory * 1e9 / 2)))
        print(f"{f'10^{power}':>8}{of_ids / 1e9:>14.3g}{n:>28.0f}")


if __name__ == "__main__":
    main()
