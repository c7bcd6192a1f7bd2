"""Top-100 by the approximate index beside the exact lists of top_items, one thread each.

    pip install 'tabcf[ann]'
    python benchmarks/ann.py [n_items=200000] [ef_construction=100]

Vectors are 64 wide and lie around 1,000 planted centres (noise 0.3 of a centre's spread); the same
items are then given log-normal lengths, as popularity does, which is harder. Prints for each the
time to build, a curve of recall and speed over ef, and the memory; both ways get the same vectors.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import torch

N_QUERIES, N_CENTRES, D, K = 1024, 1000, 64, 100


def memory(which: str) -> float:
    """Of this process, in MB: `VmRSS` now, or `VmHWM` at its highest."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines[which].split()[0]) / 2**10


def exact_rate(users: torch.Tensor, items: torch.Tensor) -> float:
    """Users per CPU-second of top_items, the best of three rounds."""
    from tabcf.contracts.inputs import Inputs
    from tabcf.contracts.target import TargetInfo
    from tabcf.data.encoder import Encoder
    from tabcf.losses import Softmax
    from tabcf.nn import DotProduct
    from tabcf.recommend.topk import top_items
    from tabcf.recommend.trained import Trained

    n, n_items = len(users), len(items)
    model = DotProduct([n, n_items], factors=D).eval()
    with torch.no_grad():
        model.factors.copy_(torch.cat([users, items]))
    target = TargetInfo("implicit")
    trained = Trained(Encoder([], {}), model, Softmax(target), target)
    blank = Inputs(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))

    def ids(count: int) -> Inputs:
        return Inputs(torch.arange(count)[:, None], torch.zeros(count, 0))

    seconds = float("inf")
    for _ in range(3):
        started = time.process_time()
        rng = torch.Generator().manual_seed(0)
        for _block in top_items(trained, ids(n), blank, ids(n_items), K, rng):
            pass
        seconds = min(seconds, time.process_time() - started)
    return n / seconds


def compare(name: str, users: torch.Tensor, items: torch.Tensor, ef_construction: int) -> None:
    from tabcf.recommend.index import ItemIndex

    before = memory("VmRSS")
    started = time.process_time()
    index = ItemIndex.of_vectors(items, ef_construction=ef_construction)
    built = time.process_time() - started
    grown = memory("VmRSS") - before
    exact = exact_rate(users, items)
    print(f"\n{name}: {len(items):,} items, {D} wide, ef_construction {ef_construction}")
    print(f"built in {built:.0f} CPU-seconds; {grown:,.0f} MB; exact {exact:,.0f} users/s")
    print("    ef  recall@100  users/s   ratio")
    good = None
    for ef in (100, 200, 400, 800, 1600):
        index.set_ef(ef)
        seconds = float("inf")
        for _ in range(3):
            started = time.process_time()
            index.query(users, K)
            seconds = min(seconds, time.process_time() - started)
        rate, recall = len(users) / seconds, index.share_found(users[:200], K)
        print(f"{ef:6}  {recall:10.3f}  {rate:7,.0f}  {rate / exact:6.1f}")
        if good is None and recall >= 0.95:
            good = ef, recall, rate / exact
    if good is None:
        print("verdict: no ef reached a recall of 0.95; the exact lists are the better choice")
        return
    ef, recall, ratio = good
    worth = "worth it" if ratio > 1 else "not worth it: the exact lists are faster"
    repaid = ""
    if ratio > 1:
        repaid = f"; building is repaid after {built * exact / (1 - 1 / ratio):,.0f} lists"
    print(f"verdict: ef {ef} finds {recall:.1%} at {ratio:.1f} times the speed, {worth}{repaid}")


def main() -> None:
    n_items = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    ef_construction = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(N_CENTRES, D, generator=rng)

    def around(n: int) -> torch.Tensor:
        chosen = centres[torch.randint(N_CENTRES, (n,), generator=rng)]
        return (chosen + 0.3 * torch.randn(n, D, generator=rng)) / D**0.5

    users, items = around(N_QUERIES), around(n_items)
    compare("clusters", users, items, ef_construction)
    lengths = torch.exp(0.5 * torch.randn(n_items, 1, generator=rng))
    compare("clusters of uneven lengths", users, items * lengths, ef_construction)
    print(f"\npeak memory of the whole run: {memory('VmHWM'):,.0f} MB")


if __name__ == "__main__":
    main()
