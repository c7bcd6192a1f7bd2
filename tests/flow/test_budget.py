"""A fit keeps to its memory budget, or ends with one error that says what took it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import RunError, SpecError
from tabcf.run.budget import Budget
from tabcf.run.progress import Silent
from tests.flow.test_streamed import assert_same, frame, spec

STATUS = Path("/proc/self/status")
needs_linux = pytest.mark.skipif(
    not STATUS.exists() or "RssFile" not in STATUS.read_text(), reason="Linux alone tells"
)
MB = 1_000_000


def in_memory() -> int:
    """Bytes of this process in memory."""
    return int(STATUS.read_text().split("VmRSS:")[1].split()[0]) * 1024


class Hoarding(Silent):
    """Takes memory from the sixth step on, as whatever leaks does."""

    def __init__(self) -> None:
        self.n_steps = 0
        self.hoard: list[np.ndarray] = []

    def step(self) -> None:
        self.n_steps += 1
        if 5 < self.n_steps <= 13:
            self.hoard.append(np.ones(12 * MB))


@needs_linux
def test_a_training_that_takes_more_ends_and_goes_on_within_a_larger_budget(
    tmp_path: Path,
) -> None:
    given = spec(train={"checkpoint": {"steps": 3}})
    Budget("64GB")._let_go()
    budget = f"{in_memory() // MB + 100}MB"
    hoarding = Hoarding()
    with pytest.raises(RunError) as caught:
        tabcf.fit(given, frame(), tmp_path / "run", memory=budget, progress=hoarding)
    message = str(caught.value)
    assert message.startswith(f"train.memory: expected at most {budget}, got ")
    # The last of what is told grew by what was hoarded.
    parts = message.split(": ")[2].split(";")[0].split(", ")
    assert [part.split("GB ")[1] for part in parts] == [
        "before the fit",
        "by reading",
        "by encoding",
        "by training",
    ]
    assert float(parts[-1].split("GB")[0]) > 0.15
    enough = message.split("; ")[1].split(" may do")[0]
    assert not (tmp_path / "run").exists()
    hoarding.hoard.clear()
    resumed = tabcf.fit(given, frame(), tmp_path / "run", memory=enough, resume=True)
    expected = tabcf.fit(given, frame())
    assert isinstance(resumed, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(resumed, expected)


@needs_linux
def test_what_can_be_had_again_is_let_go_of_first() -> None:
    budget = Budget(f"{in_memory() // MB + 300}MB")
    hoard = [np.ones(50 * MB)]
    budget.releases(hoard.clear)
    budget.check()
    assert not hoard
    budget.check()


@needs_linux
def test_a_budget_below_what_is_in_use_is_refused() -> None:
    with pytest.raises(SpecError, match=r"expected at least .*GB, got 30MB: the fit needs room"):
        Budget("30MB")


FIT = r"""
import json, re, sys
from pathlib import Path
import numpy as np
import tabcf
from tabcf.errors import RunError
from tabcf.run.progress import Silent

class Passing(Silent):
    def step(self):
        np.ones(75_000_000)

spec, data, memory = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
run = tabcf.fit(spec, data, memory=memory)
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
try:
    tabcf.fit({**spec, "loss": "sampled_bce"}, data, memory=memory, progress=Passing())
    error = None
except RunError as caught:
    error = str(caught)
print(json.dumps([int(peak) * 1024, run.report.n_rows["train"], error]))
"""


@needs_linux
def test_a_process_stays_within_a_small_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 300_000
    columns = {"user_id": rng.integers(0, 3000, n), "item_id": rng.integers(0, 900, n)}
    path = tmp_path / "events.parquet"
    pd.DataFrame(columns).to_parquet(path, row_group_size=1 << 16)
    given = {
        **spec(target={"implicit": {}}, loss="bpr", split={"random": {"valid": 0.01, "test": 0}}),
        "train": {"epochs": 1, "batch_size": 8192, "checkpoint": None, "threads": 1},
    }
    done = subprocess.run(
        [sys.executable, "-c", FIT, json.dumps(given), str(path), "600MB"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", "TABCF_CACHE_GB": "0"},
    )
    assert done.returncode == 0, done.stderr
    peak, n_train, error = json.loads(done.stdout)
    assert n_train == 297_000
    assert peak <= 600 * MB
    # What was taken between two looks and given back is found by the peak that it left.
    assert error.startswith("train.memory: expected at most 600MB, got ")
    assert re.search(r"0\.[6-9]\dGB by training", error)
