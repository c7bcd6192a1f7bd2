"""Plugins as others get them: a project, a wheel, an environment; then a fit by name."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tabcf.cli import cli
from tabcf.testing import tiny_ratings

# The suites of the new projects are run where they are installed; building needs hatchling.
pytest.importorskip("hatchling", reason="hatchling builds the wheels: pip install hatchling")

SPEC = """\
tabcf: 1
plugins: [shine, dusk]
data: ratings.csv
target: rating
entities:
  user: {id: user_id}
  item: {id: item_id}
columns:
  letter: {initial: {from: name}}
  part: dusk/daypart
model: {dot_product_bias: {factors: 4}}
loss: {sum: {shine/log_cosh: 0.5, tolerant: 0.5}}
train: {epochs: 1}
"""
MAIN = ("-c", "from tabcf.cli import main; main()")


def run(python: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"TABCF_PLUGINS": "shine,dusk", "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def done(python: str, *arguments: object, folder: Path) -> str:
    found = run(python, *arguments, folder=folder)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def new_environment(folder: Path) -> str:
    """An environment of its own that sees what is installed in this one; gives its Python."""
    venv.EnvBuilder(symlinks=True).create(folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    outer = sysconfig.get_path("purelib")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return str(Path(sysconfig.get_path("scripts", "venv", vars=paths)) / "python")


def test_new_plugins_are_built_installed_used_and_missed(tmp_path: Path) -> None:
    for arguments in (["shine"], ["dusk", "--yaml"]):
        new = ["plugins", "new", *arguments, "--out", str(tmp_path)]
        cli.main(new, standalone_mode=False)
    projects = [tmp_path / "tabcf-shine", tmp_path / "tabcf-dusk"]

    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels")
    done(sys.executable, *build, *projects, folder=tmp_path)
    wheels = sorted((tmp_path / "wheels").iterdir())
    names = [wheel.name for wheel in wheels]
    assert names == ["tabcf_dusk-0.1.0-py3-none-any.whl", "tabcf_shine-0.1.0-py3-none-any.whl"]
    assert "tabcf_dusk/plugin.yaml" in zipfile.ZipFile(wheels[0]).namelist()

    python = new_environment(tmp_path / "env")
    pip = ("-m", "pip", "-q", "--disable-pip-version-check")
    done(python, *pip, "install", "--no-deps", "--no-index", *wheels, folder=tmp_path)

    suites = [project / "tests" for project in projects]
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    printed = done(python, *pytest_, "--rootdir", tmp_path, *suites, folder=tmp_path)
    assert " passed" in printed
    assert not {"skipped", "xfailed", "failed"} & set(printed.split())

    ratings = tiny_ratings()
    ratings["name"] = ratings["item_id"].map(lambda number: f"{'abc'[number % 3]}{number}")
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "spec.yaml").write_text(SPEC)
    printed = done(python, *MAIN, "fit", "spec.yaml", "--out", "run", "--quiet", folder=tmp_path)
    assert printed == "run\n"

    # What is in the folder is not importable from it: the wheels are what was used.
    done(python, *pip, "uninstall", "-y", "tabcf-shine", "tabcf-dusk", folder=tmp_path)
    found = run(python, *MAIN, "predict", "run", "ratings.csv", folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "run: needs the column daypart and the loss tolerant of the plugin tabcf-dusk 0.1.0; "
        "pip install 'tabcf-dusk==0.1.0'\n"
    )
