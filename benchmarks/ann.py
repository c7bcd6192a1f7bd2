"""Top-100 by the approximate index beside the exact lists of top_items, one thread each.

    pip install 'tabcf[ann]'
    python benchmarks/ann.py [n_items=200000] [ef_construction=100] [clusters|biases|lengths ...]
    python benchmarks/ann.py memory [n_items=1000000] [levelled|plain]

Vectors are 64 wide and lie around 1,000 planted centres (noise 0.3 of a centre's spread); the same
items are then given biases, or log-normal lengths, as popularity does. Prints for each, and for
both kinds of index, the time to build, a curve of recall and speed over ef, and the memory; both
ways get the same vectors. The exact lists are made for 1,024 users at a time and for one alone,
which pays for all items' vectors at each call. `memory` builds one kind of index in a process that
does nothing else, and prints the peak of its resident memory.
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


def exact_rates(users: torch.Tensor, items: torch.Tensor) -> tuple[float, float]:
    """Users per CPU-second of top_items, the best of two rounds: all at once, and one a call."""
    from tabcf.contracts.inputs import Inputs
    from tabcf.contracts.target import TargetInfo
    from tabcf.data.encoder import Encoder
    from tabcf.losses import Softmax
    from tabcf.nn import DotProduct
    from tabcf.recommend.topk import top_items
    from tabcf.recommend.trained import Trained

    n_items, width = items.shape
    model = DotProduct([len(users), n_items], factors=width).eval()
    with torch.no_grad():
        model.factors.copy_(torch.cat([users, items]))
    target = TargetInfo("implicit")
    trained = Trained(Encoder([], {}), model, Softmax(target), target)

    def ids(count: int) -> Inputs:
        return Inputs(torch.arange(count)[:, None], torch.zeros(count, 0))

    def rate(n: int) -> float:
        blank = Inputs(torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))
        seconds = float("inf")
        for _ in range(2):
            started = time.process_time()
            rng = torch.Generator().manual_seed(0)
            for _block in top_items(trained, ids(n), blank, ids(n_items), K, rng):
                pass
            seconds = min(seconds, time.process_time() - started)
        return n / seconds

    return rate(len(users)), rate(1)


def compare(name: str, users: torch.Tensor, items: torch.Tensor, ef_construction: int) -> None:
    from tabcf.recommend.index import ItemIndex

    exact, alone = exact_rates(users, items)
    print(f"\n{name}: {len(items):,} items, ef_construction {ef_construction}")
    print(f"exact: {exact:,.0f} users/s, {alone:,.1f} where each comes alone")
    good = []
    for kind in ("levelled", "plain"):
        before = memory("VmRSS")
        started = time.process_time()
        index = ItemIndex.of_vectors(
            items, ef_construction=ef_construction, is_levelled=kind == "levelled"
        )
        built = time.process_time() - started
        grown = memory("VmRSS") - before
        print(f"{kind}: built in {built:.0f} CPU-seconds, {grown:,.0f} MB")
        print("    ef  recall@100  users/s   ratio", flush=True)
        for ef in (100, 200, 400, 800):
            index.set_ef(ef)
            seconds = float("inf")
            for _ in range(2):
                started = time.process_time()
                index.query(users, K)
                seconds = min(seconds, time.process_time() - started)
            rate = len(users) / seconds
            recall = index.share_found(users[:200], K, items=items)
            print(f"{ef:6}  {recall:10.3f}  {rate:7,.0f}  {rate / exact:6.1f}", flush=True)
            if recall >= 0.95:
                good.append((rate / exact, kind, ef, recall, built))
        del index
    if not good:
        print(
            "verdict: recall stays below 0.95 up to ef 800; the exact lists are the better choice"
        )
        return
    ratio, kind, ef, recall, built = max(good)
    text = f"verdict: {kind}, ef {ef} finds {recall:.1%} at {ratio:.1f} times the speed"
    if ratio > 1:
        lists = built * exact / (1 - 1 / ratio)
        print(f"{text}; building is repaid after {lists:,.0f} lists", flush=True)
    else:
        print(f"{text}: the exact lists are the better choice, unless users come alone", flush=True)


class Around:
    """Vectors around planted centres."""

    def __init__(self) -> None:
        self.rng = torch.Generator().manual_seed(0)
        self.centres = torch.randn(N_CENTRES, D, generator=self.rng)

    def draw(self, n: int) -> torch.Tensor:
        vectors = torch.randn(n, D, generator=self.rng).mul_(0.3)
        for block in vectors.split(1 << 16):
            block += self.centres[torch.randint(N_CENTRES, (len(block),), generator=self.rng)]
        return vectors.div_(D**0.5)


def peak(n_items: int, kind: str) -> None:
    """What building one kind takes, the vectors that it is built from included."""
    from tabcf.recommend.index import ItemIndex

    around = Around()
    before = memory("VmRSS")
    items = around.draw(n_items)
    given = memory("VmRSS")
    started = time.process_time()
    index = ItemIndex.of_vectors(items, is_levelled=kind == "levelled")
    seconds, built = time.process_time() - started, memory("VmHWM")
    recall = index.share_found(around.draw(200), K, items=items)
    print(f"{kind}: {n_items:,} items, {D} wide, built in {seconds:.0f} CPU-seconds")
    print(f"  {before:6,.0f} MB with torch loaded")
    print(f"  {given:6,.0f} MB with the vectors")
    print(f"  {memory('VmRSS'):6,.0f} MB with the index")
    print(f"  {built:6,.0f} MB at the highest while building")
    print(f"  {memory('VmHWM'):6,.0f} MB with its recall, {recall:.3f} of the top {K}")


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["memory"]:
        n_items = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
        peak(n_items, sys.argv[3] if len(sys.argv) > 3 else "levelled")
        return
    n_items = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    ef_construction = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    around = Around()
    users, items = around.draw(N_QUERIES), around.draw(n_items)
    lengths = torch.exp(0.5 * torch.randn(n_items, 1, generator=around.rng))
    biases = 0.5 * torch.randn(n_items, 1, generator=around.rng)
    asked = sys.argv[3:] or ["clusters", "biases", "lengths"]
    if "clusters" in asked:
        compare("clusters", users, items, ef_construction)
    if "biases" in asked:
        with_ones = torch.cat([users, torch.ones(N_QUERIES, 1)], 1)
        compare("biases", with_ones, torch.cat([items, biases], 1), ef_construction)
    if "lengths" in asked:
        compare("lengths", users, items * lengths, ef_construction)
    print(f"\npeak memory of the whole run: {memory('VmHWM'):,.0f} MB")


if __name__ == "__main__":
    main()
