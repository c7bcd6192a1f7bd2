"""Two processes against one: the same losses and weights; what a step costs; what a kill leaves.

    python benchmarks/scale_out.py              # equality over 200 steps, and the CPU of a step
    python benchmarks/scale_out.py --kills 3    # a process killed in the middle of fits, resumed
    python benchmarks/scale_out.py --kills 3 --own-rows  # the same with rows of their own
    python benchmarks/scale_out.py --memory 4000000      # what each process has in memory

Data are made up from a seed: 20,000 ratings of 2,000 users and 1,000 items, a planted checkerboard
of likes with noise, in batches of 512 whose last one is uneven; the tables that are spread have
40,000 and 20,000 further rows. `reordered` is one process with the rows of each batch the other way
round: what rounding does by itself. `rows of their own` has a half of the rows in each process,
beside one process that is given the same batches. Nothing is selected. Processes are joined by gloo
on one machine, one thread each; CPU is the user time of a process over the steps alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import Batch, select, stack, take
from tabcf.losses import BPR, MSE
from tabcf.nn import DotProductBias, EmbeddingNN
from tabcf.training.loop import train
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import Decay, Piece, decay_groups
from tabcf.training.ranking import SampledObjective
from tabcf.training.samplers import Catalogue, Chosen, UniformSampler
from tabcf.training.scale_out.own import OwnRows
from tabcf.training.scale_out.seam import ALONE, How, Ranks
from tabcf.training.schedules import one_cycle
from tabcf.training.state import weights_of

N, N_USERS, N_ITEMS, BATCH = 20_000, 2_000, 1_000, 512
FURTHER_USERS, FURTHER_ITEMS = 40_000, 20_000
N_STEPS = 200
TARGET = TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,))
CASES = {
    "dot product": "copied",
    "dot product, tables spread": "spread",
    "dot product, bpr": "copied",
    "embedding network": "copied",
    "embedding network, tables spread": "spread",
    "embedding network, doubles": "copied",
    "dot product, weighted events": "copied",
    "dot product, rows of their own": "copied",
    "network of doubles, own rows": "copied",
}


def ratings(*, is_weighted: bool, is_large: bool) -> Table:
    rng = Generator().manual_seed(4)
    users = torch.randint(1, N_USERS + 1, (N,), generator=rng).int()
    items = torch.randint(1, N_ITEMS + 1, (N,), generator=rng).int()
    target = 3 + ((users + items) % 2).float() + 0.1 * torch.randn(N, generator=rng)
    n_users, n_items = N_USERS, N_ITEMS
    if is_large:
        n_users, n_items = n_users + FURTHER_USERS, n_items + FURTHER_ITEMS
    return Table(
        rows={"user": users, "item": items},
        events=Inputs(torch.zeros(N, 0, dtype=torch.int32), torch.zeros(N, 0)),
        entities={"user": entity(n_users), "item": entity(n_items)},
        target=target,
        weight=torch.rand(N, generator=rng) if is_weighted else None,
    )


def entity(n: int) -> EntityTable:
    ids = torch.arange(n + 1, dtype=torch.int32)[:, None]
    return EntityTable(Inputs(ids, torch.zeros(n + 1, 0)))


def problem(case: str, rank: int | None = None) -> tuple[Objective, nn.Module, nn.Module]:
    """What is lowered; with rows of their own by one of the processes, or by one that has all."""
    is_large = CASES[case] == "spread"
    table = ratings(is_weighted="weighted" in case, is_large=is_large)
    sizes = [len(table.entities[name]) for name in ("user", "item")]
    torch.manual_seed(0)
    model: nn.Module
    loss: nn.Module
    if "network" in case:
        model = EmbeddingNN(sizes, widths=16, layers=[64], d_out=1)
        if "doubles" in case:
            model, table = model.double(), replace(table, target=table.target.double())
    else:
        model = DotProductBias(sizes, factors=16)
    if "own" in case:
        loss = MSE(TARGET)
        return own_rows(table, model, loss, rank), model, loss
    if "bpr" not in case:
        loss = MSE(TARGET)
        return PointwiseObjective(table, model, loss, batch_size=BATCH), model, loss
    loss = BPR(TargetInfo("implicit"))
    rows = torch.arange(1, N_ITEMS + 1)
    catalogue = Catalogue(rows, torch.ones(len(rows), dtype=torch.int64))
    chosen = Chosen.of_pairs(
        table.rows["user"].long(),
        table.rows["item"].long() - 1,
        n_users=sizes[0],
        n_items=len(rows),
    )
    objective = SampledObjective(
        table,
        model,
        loss,
        sampler=UniformSampler(catalogue, n=4),
        chosen=chosen,
        catalogue=catalogue,
        batch_size=BATCH,
    )
    return objective, model, loss


def own_rows(table: Table, model: nn.Module, loss: nn.Module, rank: int | None) -> Objective:
    """Each of two processes with a half of the rows, uneven by two; or their batches in one."""
    cut = len(table) // 2 + 1
    halves = [torch.arange(cut), torch.arange(cut, len(table))]
    by_rank = [
        OwnRows(
            take(table, half),
            model,
            loss,
            lengths=[len(each) for each in halves],
            rank=number,
            batch_size=BATCH,
        )
        for number, half in enumerate(halves)
    ]
    return by_rank[rank] if rank is not None else Together(table, model, loss, by_rank)


class Together(PointwiseObjective):
    """The batches that processes with rows of their own draw together."""

    def __init__(
        self, table: Table, model: nn.Module, loss: nn.Module, by_rank: list[OwnRows]
    ) -> None:
        super().__init__(table, model, loss, batch_size=BATCH)
        self._by_rank = by_rank

    @property
    def n_steps(self) -> int:
        return self._by_rank[0].n_steps

    def epoch(self, rng: Generator) -> Iterator[Batch]:
        state = rng.get_state()
        epochs = []
        for own in self._by_rank:
            rng.set_state(state)
            epochs.append(own.epoch(rng))
        for parts in zip(*epochs, strict=True):
            batches = [part.batch for part in parts if not part.is_blank]
            inputs = stack(*(batch.inputs for batch in batches))
            yield Batch(inputs, torch.cat([batch.target for batch in batches]), None)


class Reordered(PointwiseObjective):
    """The same batches with their rows the other way round."""

    def epoch(self, rng: Generator) -> Iterator[Batch]:
        for batch in super().epoch(rng):
            inputs = select(batch.inputs, torch.arange(len(batch.target) - 1, -1, -1))
            weight = None if batch.weight is None else batch.weight.flip(0)
            yield Batch(inputs, batch.target.flip(0), weight)


def trained(
    case: str, ranks: Ranks, *, n_steps: int = N_STEPS, is_reordered: bool = False
) -> dict[str, Any]:
    """Losses of all steps, the weights, and the user milliseconds of a step."""
    objective, model, loss = problem(case, ranks.rank if ranks.size > 1 else None)
    if is_reordered and type(objective) is PointwiseObjective:
        objective = Reordered(objective.table, model, loss, batch_size=BATCH)

    def decays(of: nn.Module) -> list[Piece]:
        parameters = list(of.parameters())
        return decay_groups(parameters, [p for p in parameters if p.ndim <= 1], {}, Decay(0.01))

    epochs = -(-n_steps // objective.n_steps)
    how = How("eager", decays, one_cycle(), 5e-3, epochs, clip_norm=1.0)
    losses: list[float] = []
    with ranks.wrap(objective, model, loss, how) as engine:
        steps = engine.steps

        class Heard:
            """The same steps, with their losses kept."""

            n_steps = steps.n_steps
            settle, state, load_state = steps.settle, steps.state, steps.load_state

            def epoch(self, rates: Any, rng: Generator, *, skip: int = 0) -> Any:
                for taken in steps.epoch(rates, rng, skip=skip):
                    losses.extend(taken)
                    yield taken

        started = os.times().user
        train(
            model,
            Heard(),
            schedule=how.schedule,
            learning_rate=how.learning_rate,
            epochs=epochs,
            rng=Generator().manual_seed(1),
            loss=loss,
        )
        seconds = os.times().user - started
    return {
        "note": engine.note,
        "losses": losses[:n_steps],
        "weights": weights_of(model, loss),
        "ms_a_step": 1000 * seconds / len(losses),
    }


def one_rank(rank: int, size: int, folder: Path) -> None:
    """All cases as one of several processes; the first one writes what came of them."""
    from safetensors.torch import save_file

    from tabcf.training.scale_out.group import joined
    from tabcf.training.scale_out.ranks import TogetherRanks

    torch.set_num_threads(1)
    with joined(rank, size, meeting=f"file://{folder / 'meeting'}") as group:
        for case in CASES:
            found = trained(case, TogetherRanks(group))
            if rank == 0:
                weights = {n: v.contiguous() for n, v in found.pop("weights").items()}
                save_file(weights, folder / f"{case}.safetensors")
                (folder / f"{case}.json").write_text(json.dumps(found))


def together(size: int, folder: Path) -> None:
    """Have all cases trained by several processes."""
    command = [sys.executable, __file__, "--folder", str(folder), "--size", str(size)]
    ranks = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(size)]
    statuses = [rank.wait() for rank in ranks]
    if any(statuses):
        sys.exit("a process ended badly")


def equality() -> None:
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        together(2, folder)
        print(f"{'':34}{'loss':>18}{'off by':>9}{'weights':>9}{'reordered':>11}{'ms a step':>12}")
        for case in CASES:
            alone = trained(case, ALONE)
            again = trained(case, ALONE, is_reordered=True)["losses"]
            two = json.loads((folder / f"{case}.json").read_text())
            weights: Mapping[str, torch.Tensor] = load_file(folder / f"{case}.safetensors")
            apart = max(
                float((value.double() - weights[name].double()).abs().max())
                for name, value in alone["weights"].items()
                if value.numel()
            )
            course = f"{alone['losses'][0]:.4f} → {alone['losses'][-1]:.4f}"
            cost = f"{alone['ms_a_step']:.1f} → {two['ms_a_step']:.1f}"
            off = off_by(alone["losses"], two["losses"])
            by_itself = off_by(alone["losses"], again)
            print(f"{case:34}{course:>18}{off:>9.0e}{apart:>9.0e}{by_itself:>11.0e}{cost:>12}")


def off_by(losses: list[float], others: list[float]) -> float:
    """The largest relative difference of two courses."""
    pairs = zip(losses, others, strict=True)
    return max(abs(a - b) / max(abs(a), 1e-9) for a, b in pairs)


FIT: dict[str, Any] = {
    "tabcf": 1,
    "name": "killed",
    "data": "ratings.parquet",
    "target": "rating",
    "entities": {"user": {"id": "user"}, "item": {"id": "item"}},
    "model": {"embedding_nn": {"layers": [32], "dropout": 0.1}},
    "split": {"random": {"valid": 0.1, "test": 0.1}},
    "train": {"epochs": 6, "batch_size": 256, "checkpoint": {"steps": 20}},
}


def kills(n: int, seed: int, *, is_own: bool) -> None:
    """Fits by two processes of which one is killed at a random moment, resumed by two."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rng = random.Random(seed)
        table = ratings(is_weighted=False, is_large=False)
        columns = {"user": table.rows["user"], "item": table.rows["item"], "rating": table.target}
        frame = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
        frame.to_parquet(folder / "ratings.parquet", row_group_size=1000)
        shard = {"rows": 1, "data": is_own}
        spec = {**FIT, "train": {**FIT["train"], "shard": shard}}
        (folder / "fit.yaml").write_text(json.dumps(spec))
        done, _ = fit(folder, "whole")
        whole = (folder / "whole/weights.safetensors").read_bytes()
        n_same = 0
        for number in range(n):
            name = f"killed-{number}"
            rank, states = rng.randrange(2), rng.randrange(1, 12)
            done, said = fit(folder, name, kill=rank, after=20 * states)
            print(f"process {rank} killed after step {20 * states}: status {done}: {said}")
            while done:
                done, said = fit(folder, name, resume=True)
            n_same += (folder / name / "weights.safetensors").read_bytes() == whole
        print(f"{n_same} of {n} ended with the weights of the fit that nobody killed, bit for bit")


def fit(
    folder: Path, name: str, *, kill: int | None = None, after: int = 0, resume: bool = False
) -> tuple[int, str]:
    """A fit's exit status and last line; with `kill`, one process is killed after some steps."""
    command = [sys.executable, "-m", "tabcf", "fit", "fit.yaml", "--nproc", "2", "--out", name]
    process = subprocess.Popen(
        [*command, "--resume"] if resume else command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    while kill is not None and process.poll() is None:
        kept = [int(path.stem) for path in (folder / f".{name}.partial").glob("fit/*.ranks")]
        if max(kept, default=0) >= after:
            tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
            children = sorted(int(pid) for task in tasks for pid in task.read_text().split())
            os.kill(children[kill], signal.SIGKILL)
            break
        time.sleep(0.02)
    _, said = process.communicate()
    return process.returncode, (said.strip().splitlines() or [""])[-1]


WIDE: dict[str, Any] = {
    "tabcf": 1,
    "name": "wide",
    "data": "events",
    "target": "rating",
    "entities": {"user": {"id": "user"}, "item": {"id": "item"}},
    "columns": {**{f"number_{n}": "number" for n in range(8)}, "device": "category"},
    "model": {"embedding_nn": {"layers": [16], "widths": 4}},
    "split": {"random": {"valid": 0.02, "test": 0.02}},
    "train": {"epochs": 1, "batch_size": 16384, "engine": "eager", "checkpoint": None},
}


def memory(n: int) -> None:
    """Peak memory and CPU of each process, with all rows in each and with rows of their own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_wide(folder / "events", n)
        print(f"{n:,} rows of two ids, eight numbers and a category; peak memory and CPU seconds")
        for what, is_own in (("all rows in each process", False), ("rows of their own", True)):
            for size in (2, 4) if is_own else (1, 2, 4):
                train = {**WIDE["train"], "workers": size, "shard": {"data": is_own}}
                (folder / "fit.yaml").write_text(json.dumps({**WIDE, "train": train}))
                shutil.rmtree(folder / "run", ignore_errors=True)
                seen, rmse = watched(folder)
                shown = ", ".join(f"{most / 1e9:.2f} GB {cpu:.0f} s" for most, cpu in seen)
                print(f"{what:26}{size} processes: {shown}; test RMSE {rmse:.4f}", flush=True)


def write_wide(folder: Path, n: int) -> None:
    """Made-up rows in files of half a million, and in row groups of 65,536."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    rng, size_of_file = np.random.default_rng(2), 1 << 19
    for number, start in enumerate(range(0, n, size_of_file)):
        size = min(size_of_file, n - start)
        columns: dict[str, Any] = {
            "user": rng.integers(0, 100_000, size),
            "item": rng.integers(0, 10_000, size),
            "device": rng.choice(["tv", "phone", "web"], size),
            **{f"number_{name}": rng.normal(size=size) for name in range(8)},
        }
        likes = (columns["user"] + columns["item"]) % 2
        columns["rating"] = 3.0 + likes + 0.1 * rng.normal(size=size)
        pq.write_table(pa.table(columns), folder / f"{number:03d}.parquet", row_group_size=1 << 16)


def watched(folder: Path) -> tuple[list[tuple[int, float]], float]:
    """Peak memory and CPU seconds of a fit's processes, the first one first; and its test RMSE."""
    command = [sys.executable, "-m", "tabcf", "fit", "fit.yaml", "--out", "run", "--no-cache"]
    command += ["--quiet", "--json"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    seen: dict[int, tuple[int, float]] = {}
    while process.poll() is None:
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        try:
            children = sorted(int(pid) for task in tasks for pid in task.read_text().split())
            for pid in children or [process.pid]:
                seen[pid] = used(pid)
        except OSError:  # it has just ended
            pass
        time.sleep(0.2)
    said, _ = process.communicate()
    if process.returncode:
        sys.exit("a fit ended badly")
    found = [most for pid, most in sorted(seen.items()) if len(seen) == 1 or pid != process.pid]
    return found, json.loads(said)["test"]["rmse"]


def used(pid: int) -> tuple[int, float]:
    """The most bytes that a process has had in memory, and its CPU seconds.

    Raises:
        OSError: It has ended.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    if found is None:
        raise ProcessLookupError(pid)
    return 1024 * int(found[1]), cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--own-rows", action="store_true")
    parser.add_argument("--memory", type=int, default=0)
    options = parser.parse_args()
    if options.rank is not None:
        one_rank(options.rank, options.size, options.folder)
        return
    if options.memory:
        memory(options.memory)
    elif options.kills:
        kills(options.kills, options.seed, is_own=options.own_rows)
    else:
        equality()


if __name__ == "__main__":
    main()
