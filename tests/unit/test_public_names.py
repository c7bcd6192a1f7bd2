"""The package's public names, and what importing them loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import tabcf

PUBLIC = [
    "CollabNN",
    "CrossValidation",
    "DataError",
    "DotProduct",
    "DotProductBias",
    "EmbeddingNN",
    "Run",
    "RunError",
    "SpecError",
    "TabcfError",
    "TabularModel",
    "fit",
    "load",
    "tune",
]


def loaded_by(code: str, *, among: set[str]) -> set[str]:
    """Those of the named modules that a new Python has loaded after running the code."""
    report = f"{code}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return among & set(done.stdout.split())


def test_public_names_are_these_and_no_others() -> None:
    assert tabcf.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_what_it_says(name: str) -> None:
    assert getattr(tabcf, name).__name__ == name
    assert name in dir(tabcf)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tabcf' has no attribute 'fitt'"):
        tabcf.fitt  # noqa: B018 - the look-up is what is tested


def test_version_is_that_of_the_installed_distribution() -> None:
    assert tabcf.__version__ == version("tabcf")


def test_import_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "pluggy", "pyarrow", "pydantic", "rich", "torch", "yaml"}
    assert loaded_by("import tabcf", among=heavy) == set()


def test_models_load_torch_alone() -> None:
    watched = {"pandas", "pluggy", "pyarrow", "pydantic", "torch", "yaml"}
    assert loaded_by("from tabcf import EmbeddingNN", among=watched) == {"torch"}


def test_errors_load_nothing_heavy() -> None:
    assert loaded_by("from tabcf import SpecError", among={"pandas", "pydantic", "torch"}) == set()


def test_a_type_checker_sees_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(tabcf.__file__).read_text(encoding="utf-8"))
    (for_types,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in for_types.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == tabcf._HOMES
    assert sorted(seen) == PUBLIC
