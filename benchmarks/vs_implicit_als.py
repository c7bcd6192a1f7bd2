"""`ials` beside implicit's alternating least squares: NDCG@10 on MovieLens-100K, u1-u5.

    pip install implicit
    python benchmarks/vs_implicit_als.py

Both with the settings that `ranking.py --tune` found in as many trials each, and over the same
seeds; the protocol is that of `ranking.py`, where both stand beside all others. The difference is
paired by user and fold; 95 % bootstrap interval over users (5,000 resamples, seed 0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from ranking import difference, measure

OURS, THEIRS = "ials", "implicit ALS"


def main() -> None:
    parser = argparse.ArgumentParser(description="ials beside implicit's ALS")
    parser.add_argument("--results", type=Path, default=Path("ranking.csv"), help="where to keep")
    torch.set_num_threads(1)
    results = measure([OURS, THEIRS], ["u1-u5"], parser.parse_args().results)
    results = results[results["split"] != "time"]
    for name in (OURS, THEIRS):
        of = results[results["model"] == name]
        by_seed = of.groupby(["seed", "split"])[["ndcg", "seconds"]].mean().groupby("seed").mean()
        ndcg, seconds = by_seed.median()
        print(f"{name:14s} {ndcg:.4f}, {seconds:.2f} CPU-s a fit")
    mean, low, high = difference(results, OURS, THEIRS)
    print(f"difference {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
