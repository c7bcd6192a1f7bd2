"""Top-100 of 27,000 items at 64 factors for all users, beside implicit's compiled loop.

    pip install implicit
    python benchmarks/vs_implicit_topk.py

Both get the same vectors (normal, seed 0) and one thread, and must find the same lists. Prints
users per CPU-second, the best of five rounds each, and the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

N_USERS, N_ITEMS, D, K = 4096, 27_000, 64, 100


def best_of(rounds: int, call: Callable[[], object]) -> tuple[float, object]:
    """The least CPU seconds of some calls, and what the last one returned."""
    seconds, result = float("inf"), None
    for _ in range(rounds):
        started = time.process_time()
        result = call()
        seconds = min(seconds, time.process_time() - started)
    return seconds, result


def main() -> None:
    from implicit.cpu.topk import topk

    from tabcf.contracts.inputs import Inputs
    from tabcf.contracts.target import TargetInfo
    from tabcf.data.encoder import Encoder
    from tabcf.losses import Softmax
    from tabcf.nn import DotProduct
    from tabcf.recommend.topk import top_items
    from tabcf.recommend.trained import Trained

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DotProduct([N_USERS, N_ITEMS], factors=D).eval()
    torch.nn.init.normal_(model.factors)
    trained = Trained(
        Encoder([], {}), model, Softmax(TargetInfo("implicit")), TargetInfo("implicit")
    )

    def ids(n: int) -> Inputs:
        return Inputs(torch.arange(n)[:, None], torch.zeros(n, 0))

    blank = Inputs(torch.zeros(N_USERS, 0, dtype=torch.int64), torch.zeros(N_USERS, 0))

    def ours() -> torch.Tensor:
        rng = torch.Generator().manual_seed(0)
        blocks = top_items(trained, ids(N_USERS), blank, ids(N_ITEMS), K, rng)
        return torch.cat([block.columns for block in blocks])

    users = model.column_vectors(0).detach().numpy().copy()
    items = model.column_vectors(1).detach().numpy().copy()

    def theirs() -> np.ndarray:
        return topk(items, users, K, num_threads=1)[0]

    mine, found = best_of(5, ours)
    peer, expected = best_of(5, theirs)
    same = np.mean(
        [len(set(a) & set(b)) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    )
    print(f"tabcf     {N_USERS / mine:10,.0f} users per CPU-second")
    print(f"implicit  {N_USERS / peer:10,.0f} users per CPU-second")
    print(f"ratio     {peer / mine:10.2f}; of {K} places {same:.2f} the same")


if __name__ == "__main__":
    main()
