"""Steps of models with large vocabularies: by touched rows, by all rows, and bare torch.

    pip install 'tabcf[fast]'
    python benchmarks/vocabulary.py  # or some parts: rows, criteo, accuracy, network, memory

One thread; CPU-milliseconds a step, the lower quartile after a warm-up.

- rows: a dot product of two ids, 64 wide, 8,192 uniform pairs a step, by rows of the table.
- criteo: 26 columns of 3.9M values in all, 16 wide, a perceptron of [256, 64], batches of
  2,048, beside 26 `nn.Embedding`s with `torch.optim.AdamW`.
- accuracy: matrix factorisation of planted ratings, 200 steps of 512, beside `torch.optim.AdamW`.
- network: the fastai book's network on MovieLens-1M's size, batches of 2,048, beside bare torch.
- memory: peak of a process that makes and trains 5M rows of 64 by row-wise Adagrad.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from tabcf.nn import EmbeddingNN, RowTable, TabularModel, lookup
from tabcf.training.optimiser import BETA2, EPS, AdamW, Decay, Piece, decay_groups
from tabcf.training.store.optimiser import StoreOptimiser

WIDTH, PAIRS, RATE, DECAY = 64, 8192, 1e-3, 0.01
ROWS = (10_000, 1_000_000, 5_000_000)
Step = Callable[[], object]


def milliseconds(step: Step, n: int, *, warm: int) -> float:
    """CPU time of a step."""
    taken = []
    for number in range(warm + n):
        started = time.process_time()
        step()
        if number >= warm:
            taken.append(time.process_time() - started)
    return 1000 * sorted(taken)[n // 4]


def pairs_step(n_rows: int, update: str, *, compiled: bool = True) -> Step:
    table = RowTable(torch.empty(n_rows, WIDTH).uniform_(-0.01, 0.01))
    optimiser: Any
    if update == "foreach":
        optimiser = torch.optim.AdamW([table], lr=RATE, weight_decay=DECAY, foreach=True)
    elif update == "fused":
        optimiser = torch.optim.AdamW([table], lr=RATE, weight_decay=DECAY, fused=True)
    else:
        rule: Any = update
        optimiser = StoreOptimiser(
            [Piece(table, None, DECAY)], [table], update=rule, compiled=compiled
        )
    rng = Generator().manual_seed(0)

    def step() -> None:
        rows = torch.randint(0, n_rows, (PAIRS, 2), generator=rng, dtype=torch.int32)
        left, right = lookup(rows, table).unbind(1)
        ((left * right).sum(1) - 1).square().mean().backward()
        if isinstance(optimiser, StoreOptimiser):
            optimiser.step(RATE)
        else:
            optimiser.step()
            optimiser.zero_grad()

    return step


def rows() -> None:
    kinds = [("foreach", True), ("fused", True)]
    kinds += [(u, c) for c in (True, False) for u in ("replay", "lazy", "adagrad")]
    print(f"{'rows':30s}" + "".join(f"{n:>18,}" for n in ROWS))
    for update, compiled in kinds:
        is_dense = update in ("foreach", "fused")
        name = f"torch, dense AdamW {update}" if is_dense else f"{update}, "
        name += "" if is_dense else ("compiled" if compiled else "torch alone")
        line, first = f"{name:30s}", 0.0
        for n_rows in ROWS:
            n, warm = (3, 1) if is_dense and n_rows > 100_000 else (20, 40)
            found = milliseconds(pairs_step(n_rows, update, compiled=compiled), n, warm=warm)
            first = first or found
            line += f"{found:>10.1f}{found / first:>6.1f} ×"
        print(line, flush=True)


SIZES = [1_000_000, 1_000_000, 700_000, 500_000, 300_000, 200_000, 100_000, 50_000, 20_000]
SIZES += [10_000] * 2 + [2_000] * 3 + [500] * 4 + [100] * 4 + [20] * 4


def criteo_batches(rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of 2,048; small numbers are more frequent."""
    sizes = torch.tensor(SIZES)
    for _ in count():
        x_cat = (torch.rand(2048, len(SIZES), generator=rng) ** 3 * sizes).int()
        yield x_cat, torch.rand(2048, 1, generator=rng).round()


class Separate(nn.Module):
    """One `nn.Embedding` a column."""

    def __init__(self, sizes: list[int], width: int, mlp: nn.Module) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in sizes)
        self.mlp = mlp

    def forward(self, x_cat: Tensor) -> Tensor:
        columns = zip(self.tables, x_cat.unbind(1), strict=True)
        output: Tensor = self.mlp(torch.cat([table(column) for table, column in columns], 1))
        return output


def network(d_in: int, layers: list[int]) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width in layers:
        parts += [nn.Linear(d_in, width), nn.ReLU()]
        d_in = width
    return nn.Sequential(*parts, nn.Linear(d_in, 1))


def criteo() -> None:
    layers = [256, 64]

    def step_of(model: nn.Module, take: Callable[[], object]) -> Step:
        batches = criteo_batches(Generator().manual_seed(0))

        def step() -> None:
            x_cat, y = next(batches)
            F.binary_cross_entropy_with_logits(model(x_cat), y).backward()
            take()

        return step

    mlp = network(26 * 16, layers)
    own = torch.optim.AdamW(mlp.parameters(), lr=RATE, fused=True)
    x = torch.rand(2048, 26 * 16, requires_grad=True)
    y = torch.rand(2048, 1).round()

    def alone() -> None:
        F.binary_cross_entropy_with_logits(mlp(x), y).backward()
        own.step()
        own.zero_grad()

    found = {"the perceptron alone": milliseconds(alone, 10, warm=3)}
    for name in ("foreach", "fused"):
        model = Separate(SIZES, 16, network(26 * 16, layers))
        given = {name: True}
        dense = torch.optim.AdamW(model.parameters(), lr=RATE, **given)

        def take(dense: Any = dense) -> None:
            dense.step()
            dense.zero_grad()

        found[f"torch, dense AdamW {name}"] = milliseconds(step_of(model, take), 5, warm=2)
    del model, dense, take
    for rule in ("replay", "lazy", "adagrad"):
        tabular = TabularModel(SIZES, layers=layers, widths=16, batch_norm=False)
        pieces = decay_groups(tabular.parameters(), [], {}, Decay(DECAY))
        update: Any = rule
        optimiser = StoreOptimiser(pieces, list(tabular.embeddings.tables), update=update)
        step = step_of(tabular, lambda o=optimiser: o.step(RATE))
        found[f"{rule}, compiled"] = milliseconds(step, 20, warm=10)
    times = [found[f"torch, dense AdamW {name}"] for name in ("foreach", "fused")]
    for name, own_time in found.items():
        print(
            f"{name:30s}{own_time:>9.1f} ms{times[0] / own_time:>8.1f} × foreach"
            f"{times[1] / own_time:>7.1f} × fused"
        )


def accuracy() -> None:
    rng = Generator().manual_seed(1)
    n_users, n_items, n = 2_000, 500, 200 * 512
    sizes = torch.tensor([n_users, n_items])
    truth = [torch.randn(int(size), 4, generator=rng) * 0.7 for size in sizes]

    def events(number: int) -> tuple[Tensor, Tensor]:
        ids = (torch.rand(number, 2, generator=rng) ** 2 * sizes).long()
        y = (truth[0][ids[:, 0]] * truth[1][ids[:, 1]]).sum(1)
        return ids + torch.tensor([0, n_users]), y + 0.3 * torch.randn(number, generator=rng)

    train, test = events(n), events(20_000)
    start = 0.1 * torch.randn(n_users + n_items, 16, generator=rng)
    found: dict[str, tuple[Tensor, float]] = {}
    for name in ("dense", "replay", "lazy"):
        table = RowTable(start.clone())
        options = {"lr": 0.02, "betas": (0.9, BETA2), "eps": EPS, "weight_decay": 0.1}
        dense = torch.optim.AdamW([table], **options) if name == "dense" else None
        rule: Any = name
        ours = None
        if dense is None:
            ours = StoreOptimiser([Piece(table, None, 0.1)], [table], update=rule)
        for ids, y in zip(train[0].split(512), train[1].split(512), strict=True):
            (lookup(ids, table).prod(1).sum(1) - y).square().mean().backward()
            if dense is not None:
                dense.step()
                dense.zero_grad()
            elif ours is not None:
                ours.step(0.02)
        if ours is not None:
            ours.settle()
        with torch.no_grad():
            errors = table[test[0]].prod(1).sum(1) - test[1]
        found[name] = table.detach(), float(errors.square().mean().sqrt())
        off = (found[name][0] - found["dense"][0]).abs().mean() / found["dense"][0].abs().mean()
        print(f"{name:10s}test RMSE {found[name][1]:.5f}, parameters off by {float(off):.4%}")


def network_steps() -> None:
    sizes = [6041, 3707]
    for model_name in ("EmbeddingNN", "TabularModel"):
        kind = EmbeddingNN if model_name == "EmbeddingNN" else TabularModel
        ours: Any = kind(sizes, layers=[100, 50])
        widths = ours.embeddings.widths
        bare = nn.ModuleList([*(nn.Embedding(n, d) for n, d in zip(sizes, widths, strict=True))])
        mlp = nn.Sequential(
            nn.Linear(sum(widths), 100, bias=False), nn.ReLU(), nn.BatchNorm1d(100)
        ).extend([nn.Linear(100, 50, bias=False), nn.ReLU(), nn.BatchNorm1d(50), nn.Linear(50, 1)])
        parameters = [*bare.parameters(), *mlp.parameters()]
        dense = torch.optim.AdamW(parameters, lr=RATE, fused=True)
        own = AdamW(decay_groups(ours.parameters(), ours.bias_parameters(), {}, Decay(DECAY)))
        rng = Generator().manual_seed(0)

        def batch(rng: Generator = rng) -> Tensor:
            return (torch.rand(2048, 2, generator=rng) * torch.tensor(sizes)).int()

        def bare_step(bare: Any = bare, mlp: Any = mlp, dense: Any = dense) -> None:
            x = batch()
            vectors = torch.cat([table(x[:, c]) for c, table in enumerate(bare)], 1)
            (mlp(vectors) - 3).square().mean().backward()
            dense.step()
            dense.zero_grad()

        def our_step(ours: Any = ours, own: Any = own) -> None:
            (ours(batch()) - 3).square().mean().backward()
            own.step(RATE)

        rounds = [
            (milliseconds(bare_step, 20, warm=5), milliseconds(our_step, 20, warm=5))
            for _ in range(3)
        ]
        one, other = (min(times) for times in zip(*rounds, strict=True))
        print(f"{model_name:14s}bare {one:.2f} ms, ours {other:.2f} ms: {one / other:.2f} ×")


def _trained_by_adagrad(n_rows: int) -> None:
    torch.set_num_threads(1)
    step = pairs_step(n_rows, "adagrad")
    for _ in range(30):
        step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{n_rows:,} rows of {WIDTH}, row-wise Adagrad: peak {peak:.2f} GB")


def memory() -> None:
    for n_rows in (10_000, ROWS[-1]):
        process = multiprocessing.get_context("spawn").Process(
            target=_trained_by_adagrad, args=(n_rows,)
        )
        process.start()
        process.join()


PARTS = {
    "rows": rows,
    "criteo": criteo,
    "accuracy": accuracy,
    "network": network_steps,
    "memory": memory,
}


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}")
        PARTS[name]()


if __name__ == "__main__":
    main()
