"""A new plugin's project: complete, installable, and with tests that pass."""

from __future__ import annotations

import re
from pathlib import Path

from tabcf.errors import PluginError

__all__ = ["write_project"]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tabcf-{name}"
version = "0.1.0"
description = "{summary}"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["tabcf>=0.1"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.tabcf]
{name} = "{target}"

[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""

_PYTHON_README = """\
# tabcf-{name}

A column `initial`, the first letters of a text, and a loss `log_cosh` for tabcf.

    pip install tabcf-{name}

```yaml
columns:
  letter: {{initial: {{from: name, length: 1}}}}
loss: log_cosh
```

`tabcf docs initial` shows the options. The tests: `pip install -e '.[test]' && pytest`.
"""

_PYTHON = '''\
"""A column and a loss for tabcf."""

import math

from pydantic import Field
from torch.nn import functional

from tabcf.contracts.definitions import ColumnDefinition, LossDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.losses import NumberLoss
from tabcf.plugin.hooks import hookimpl


class InitialOptions(Options):
    """The first letters of a text."""

    from_: str = Field(alias="from")
    """The column of texts."""
    length: int = Field(default=1, ge=1)
    """How many letters."""


class LogCosh(NumberLoss):
    """log(cosh(error)): squared near zero, straight beyond, smooth everywhere."""

    def compare(self, output, target):
        error = output - target
        return error + functional.softplus(-2 * error) - math.log(2)


INITIAL = ColumnDefinition(
    name="initial",
    options=InitialOptions,
    summary="The first letters of a text.",
    example="letter: {initial: {from: name, length: 1}}",
    output="category",
    sources=lambda name, options: (options.from_,),
    apply=lambda tables, options, state: tables.column(options.from_).str[: options.length],
)
LOG_COSH = LossDefinition(
    name="log_cosh",
    options=NoOptions,
    summary="log(cosh(error)).",
    example="log_cosh",
    targets=frozenset({"regression", "rating"}),
    build=lambda target, options: LogCosh(target),
)


@hookimpl
def tabcf_columns():
    return [INITIAL]


@hookimpl
def tabcf_losses():
    return [LOG_COSH]
'''

_PYTHON_TEST = '''\
"""The plugin through tabcf's own suites, and in one fit."""

import pandas as pd

import {package}
import tabcf
from tabcf.testing import ColumnContract, LossContract


class TestInitial(ColumnContract):
    definition = {package}.INITIAL
    options = {{"from": "name"}}
    frame = pd.DataFrame({{"name": ["ann", "bert", None, "axel"]}})


class TestLogCosh(LossContract):
    definition = {package}.LOG_COSH


def test_a_spec_uses_both():
    frame = pd.DataFrame(
        {{"name": ["ann", "axel", "bert", "bo"] * 10, "price": [1.0, 1.0, 3.0, 3.0] * 10}}
    )
    spec = {{
        "tabcf": 1,
        "target": "price",
        "columns": {{"letter": {{"initial": {{"from": "name"}}}}}},
        "model": {{"tabular": {{"layers": [16]}}}},
        "loss": "log_cosh",
        "train": {{"epochs": 30, "batch_size": 8, "learning_rate": 0.05}},
    }}
    run = tabcf.fit(spec, frame, plugins=["no:*", {package}])
    assert (run.predict(frame)["prediction"] - frame["price"]).abs().max() < 0.5
'''

_YAML_README = """\
# tabcf-{name}

Columns and a loss for tabcf, in YAML alone: `src/{package}/plugin.yaml`.

    pip install tabcf-{name}

```yaml
columns:
  daypart: {name}/daypart
loss: {name}/tolerant
```

The tests: `pip install -e '.[test]' && pytest`.
"""

_YAML = """\
tabcf_plugin: 1
name: {name}
version: 0.1.0
requires: tabcf>=0.1
summary: {summary}
columns:
  daypart: {{hour_bins: {{from: timestamp, edges: [6, 12, 18], timezone: UTC}}}}
losses:
  tolerant: {{huber: {{delta: 0.5}}}}
"""

_YAML_TEST = '''\
"""The plugin's file is right, and a spec can use all of it."""

from pathlib import Path

import tabcf
from tabcf.testing import plugin_problems, tiny_ratings

PLUGIN = Path(__file__).parents[1] / "src" / "{package}" / "plugin.yaml"


def test_the_file_is_right():
    assert plugin_problems(PLUGIN) == []


def test_a_spec_uses_it():
    spec = {{
        "tabcf": 1,
        "plugins": [str(PLUGIN)],
        "target": "rating",
        "entities": {{"user": {{"id": "user_id"}}, "item": {{"id": "item_id"}}}},
        "columns": {{"daypart": "{name}/daypart"}},
        "model": {{"dot_product_bias": {{"factors": 4}}}},
        "loss": "{name}/tolerant",
        "train": {{"epochs": 1}},
    }}
    run = tabcf.fit(spec, tiny_ratings(), plugins=["no:*"])
    names = [column.name for column in run.trained.encoder.layout.categorical]
    assert names == ["user", "item", "daypart"]
'''


def write_project(folder: Path, name: str, *, is_yaml: bool) -> list[Path]:
    """Write a plugin's project into `folder/tabcf-NAME`, which must not exist.

    Args:
        folder: Where the project's folder is to be.
        name: The plugin's name, such as `nightlife`; its package is `tabcf-nightlife`.
        is_yaml: Whether the plugin is YAML alone.

    Returns:
        The files written.

    Raises:
        PluginError: The name is no name, or the folder exists.
    """
    if not _NAME.fullmatch(name):
        raise PluginError(f"{name}: expected lower-case letters and digits, parted by - or _")
    project = folder / f"tabcf-{name}"
    package = f"tabcf_{name.replace('-', '_')}"
    summary = f"{name}: a plugin for tabcf"
    target = f"{package}:plugin.yaml" if is_yaml else package
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _YAML_README if is_yaml else _PYTHON_README,
        f"tests/test_{package}.py": _YAML_TEST if is_yaml else _PYTHON_TEST,
    }
    texts = {
        path: text.format(name=name, package=package, summary=summary, target=target)
        for path, text in files.items()
    }
    if is_yaml:
        texts[f"src/{package}/__init__.py"] = f'"""{summary}; all of it is in plugin.yaml."""\n'
        texts[f"src/{package}/plugin.yaml"] = _YAML.format(name=name, summary=f"'{summary}'")
    else:
        texts[f"src/{package}/__init__.py"] = _PYTHON
    try:
        project.mkdir(parents=True)
    except FileExistsError:
        raise PluginError(f"{project}: already exists; nothing was written") from None
    written = []
    for path, text in texts.items():
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written
