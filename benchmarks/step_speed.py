"""Steps of a dot product with biases: bare torch, and tabcf's three engines, in one run.

    pip install 'tabcf[fast]'
    python benchmarks/step_speed.py

50 factors, outputs in [0.5, 5.5], squared error, one-cycle, decay 0.1, one thread; the data are
MovieLens-100K u1 (80,000 training ratings) and 200,000 random events of MovieLens-1M's size (6,040
users, 3,706 items, some far more popular than others). `bare torch` is the shortest loop that one
would write: `nn.Embedding`s, one permutation an epoch, `torch.optim.AdamW(fused=True)`. Events per
CPU-second are medians of seven rounds, in each of which all four train one epoch, from encoded data
with everything compiled.

At the end the way to a good model of u1: of some recipes the best by RMSE on a validation tenth of
the training rows (seed 42), trained on all of them. CPU-seconds are those of encoding and training.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ranking import ratings
from torch import Generator, Tensor, nn

import tabcf
from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.losses import MSE
from tabcf.nn import DotProductBias
from tabcf.training.fused.compiled_steps import CompiledSteps
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import pair_problem
from tabcf.training.loop import train
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import AdamW, Decay, decay_groups
from tabcf.training.schedules import one_cycle
from tabcf.training.steps import EagerSteps

FACTORS, RANGE, RATE, DECAY, ROUNDS = 50, (0.5, 5.5), 5e-3, 0.1, 7
GOAL = 0.925
RECIPES = [
    {"learning_rate": rate, "weight_decay": decay, "epochs": epochs}
    for rate, decay, epochs in itertools.product(
        (1e-2, 2e-2, 4e-2), (0.1, 0.2, 0.4, 0.8), (2, 3, 4, 6)
    )
]


def movielens_100k() -> Table:
    frame = ratings().iloc[20_000:]
    return table(frame["user_id"].to_numpy(), frame["item_id"].to_numpy(), frame["rating"])


def like_movielens_1m() -> Table:
    rng = np.random.default_rng(0)
    users, items = (1 + (n * rng.random(200_000) ** 2).astype(int) for n in (6040, 3706))
    return table(users, items, rng.integers(1, 6, 200_000), n_users=6040, n_items=3706)


def table(users: Any, items: Any, stars: Any, *, n_users: int = 943, n_items: int = 1682) -> Table:
    rows = {"user": torch.tensor(users).int(), "item": torch.tensor(items).int()}
    sizes = {"user": n_users + 1, "item": n_items + 1}
    entities = {
        name: EntityTable(Inputs(torch.arange(n).int()[:, None], torch.zeros(n, 0)))
        for name, n in sizes.items()
    }
    n = len(rows["user"])
    events = Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0))
    return Table(rows, events, entities, target=torch.tensor(np.asarray(stars)).float())


class Bare(nn.Module):
    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, FACTORS), nn.Embedding(n_items, FACTORS)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        raw = (self.user(user) * self.item(item)).sum(1)
        raw = raw + (self.user_bias(user) + self.item_bias(item)).squeeze(1)
        return torch.sigmoid(raw) * (RANGE[1] - RANGE[0]) + RANGE[0]


def bare(data: Table, batch_size: int) -> Callable[[], None]:
    model = Bare(len(data.entities["user"]), len(data.entities["item"]))
    vectors = [model.user.weight, model.item.weight]
    biases = [model.user_bias.weight, model.item_bias.weight]
    groups = [{"params": vectors, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, fused=True)
    users, items, target = data.rows["user"], data.rows["item"], data.target
    assert target is not None

    def epoch() -> None:
        for rows in torch.randperm(len(data)).split(batch_size):
            output = model(users.index_select(0, rows), items.index_select(0, rows))
            loss = (output - target.index_select(0, rows)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


def ours(engine: str, data: Table, batch_size: int) -> Callable[[], None]:
    sizes = [len(data.entities["user"]), len(data.entities["item"])]
    model = DotProductBias(sizes, factors=FACTORS, y_range=RANGE)
    loss = MSE(TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,)))
    objective = PointwiseObjective(data, model, loss, batch_size=batch_size)
    pieces = decay_groups(model.parameters(), model.bias_parameters(), {}, Decay(DECAY))
    steps: Any
    if engine == "eager":
        steps = EagerSteps(model, objective, AdamW(pieces))
    elif engine == "fused":
        steps = HandwrittenSteps(pair_problem(objective), AdamW(pieces))
    else:
        steps = CompiledSteps(pair_problem(objective), pieces)
    rng = Generator().manual_seed(0)
    arguments = {"schedule": one_cycle(), "learning_rate": RATE, "epochs": 1, "rng": rng}
    return lambda: train(model, steps, **arguments) and None


def speeds(data: Table, batch_size: int) -> dict[str, float]:
    """Events per CPU-second."""
    engines = {
        "bare torch": bare(data, batch_size),
        "eager": ours("eager", data, batch_size),
        "fused": ours("fused", data, batch_size),
        "fused, compiled": ours("compiled", data, batch_size),
    }
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(1 + ROUNDS):
        for name, epoch in engines.items():
            started = time.process_time()
            epoch()
            if number:
                taken[name].append(time.process_time() - started)
    return {name: len(data) / float(np.median(seconds)) for name, seconds in taken.items()}


def fit(recipe: dict[str, Any], engine: str, *, valid: float = 0.0) -> Any:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": FACTORS, "y_range": RANGE}},
        "split": {"official": {"fold": "u1", "valid": valid}},
        "train": {"engine": engine, "batch_size": 512, **recipe},
        "seed": 42,
    }
    return tabcf.fit(spec, ratings(), plugins=["no:*"]).report


def main() -> None:
    torch.set_num_threads(1)
    for name, data in (("100K u1", movielens_100k()), ("1M's size", like_movielens_1m())):
        for batch_size in (64, 512):
            found = speeds(data, batch_size)
            print(f"\n{name}, batches of {batch_size}")
            for engine, speed in found.items():
                times = speed / found["bare torch"]
                print(f"  {engine:16s}{speed:>12,.0f} events per CPU-second{times:>7.1f} ×")
    valid = [fit(recipe, "fused", valid=0.1).valid["rmse"] for recipe in RECIPES]
    recipe = RECIPES[int(np.argmin(valid))]
    print(f"\nu1, batches of 512, {recipe}: RMSE {min(valid):.4f} on validation rows")
    for engine in ("eager", "fused"):
        reports = [fit(recipe, engine) for _ in range(ROUNDS)]
        seconds = float(np.median([report.cpu_seconds for report in reports]))
        rmse = reports[0].test["rmse"]
        word = "reached" if rmse <= GOAL else "missed"
        print(f"  {engine:6s} test RMSE {rmse:.4f} (goal {GOAL} {word}) in {seconds:.3f} CPU-s")


if __name__ == "__main__":
    main()
