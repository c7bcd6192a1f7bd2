"""What 50 installed YAML plugins cost when a command starts: bar, below 20 ms of CPU time.

    python benchmarks/yaml_plugins.py

It makes 50 distributions in a temporary folder on the path, each with the columns, losses and
entities of a plugin of usual size, and measures `survey_plugins` with and without them, in turns.
What is shown is the difference of the fastest rounds, and of the first, which finds nothing in
any cache.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

N_PLUGINS = 50
ROUNDS = 15
BAR = 20.0

PLUGIN = """\
tabcf_plugin: 1
name: {name}
version: 1.0.0
requires: tabcf>=0.1
summary: Parts of the day, ages and devices.
columns:
  daypart: {{hour_bins: {{from: timestamp, edges: [6, 12, 18], timezone: Europe/Paris}}}}
  age_band: {{bins: {{from: user.age, edges: [25, 35, 50]}}}}
  cohort: {{cross: {{from: [age_band, user.gender]}}}}
  brand: {{mapping: {{from: device, values: {{a1: a, a2: a, b1: b, b2: b, c1: c}}}}}}
  activity: {{count: user}}
entities:
  device: {{id: device_id, table: devices.csv, columns: {{os: category, year: number}}}}
losses:
  tolerant: {{huber: {{delta: 0.5}}}}
  blend: {{sum: {{mse: 0.8, mae: 0.2}}}}
"""


def write_plugins(folder: Path) -> None:
    for number in range(N_PLUGINS):
        name = f"bench{number}"
        package = folder / f"tabcf_{name}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "plugin.yaml").write_text(PLUGIN.format(name=name))
        info = folder / f"tabcf_{name}-1.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tabcf-{name}\nVersion: 1.0.0\n"
        )
        (info / "entry_points.txt").write_text(f"[tabcf]\n{name} = tabcf_{name}:plugin.yaml\n")


def cpu_ms(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return (time.process_time() - started) * 1000


def main() -> int:
    from tabcf.run.registry import survey_plugins

    with tempfile.TemporaryDirectory() as name:
        write_plugins(Path(name))
        with_none, with_all = [], []

        def survey() -> int:
            return len(survey_plugins()[1])

        os.environ["TABCF_PLUGINS"] = ",".join(f"bench{number}" for number in range(N_PLUGINS))
        survey()  # imports what a survey imports
        for _ in range(ROUNDS):
            with_none.append(cpu_ms(survey))
            sys.path.insert(0, name)
            with_all.append(cpu_ms(survey))
            assert survey() == N_PLUGINS
            sys.path.remove(name)
    first, best = with_all[0] - with_none[0], min(with_all) - min(with_none)
    print(f"without: {min(with_none):.1f} ms; with {N_PLUGINS} plugins: {min(with_all):.1f} ms")
    print(f"registration: {best:.1f} ms (first round {first:.1f} ms); bar: below {BAR:g} ms")
    return 0 if best < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
