"""CPU seconds of a simulated feedback loop and of a report on MovieLens-100K.

The bounds are 5 minutes of CPU for 10 rounds of 3 policies, and 30 seconds for the page, which
has to stay below 5 MB:

    python benchmarks/loop_and_report.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import tabcf
from tabcf.report.page import write_report

SPEC = Path(__file__).parent.parent / "examples" / "movielens-topk.yaml"
USERS = "entities.user.table=builtin:movielens-100k/users"
RATINGS = "builtin:movielens-100k/ratings"
BOUNDS = {"10 rounds of 3 policies": 300.0, "report": 30.0, "report, MB": 5.0}


def main() -> int:
    """Print each figure beside its bound; 1 if one is above it."""
    found = {}
    run = tabcf.fit(SPEC, overrides=[USERS])
    started = time.process_time()
    result = run.simulate(groups=["item.genres=Animation"])
    found["10 rounds of 3 policies"] = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        started = time.process_time()
        write_report(run, page, data=RATINGS, simulation=result)
        found["report"] = time.process_time() - started
        found["report, MB"] = page.stat().st_size / 1e6
    for name, value in found.items():
        print(f"{name:<24} {value:8.2f}  bound {BOUNDS[name]:g}")
    return int(any(value > BOUNDS[name] for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
