"""Recommenders and tabular models declared in one YAML file.

A name is imported when it is first used: `import tabcf` loads no other package, and
`from tabcf import EmbeddingNN` loads torch and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabcf.errors import DataError, RunError, SpecError, TabcfError
    from tabcf.nn import CollabNN, DotProduct, DotProductBias, EmbeddingNN, TabularModel
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.fit import fit
    from tabcf.run.folder import load
    from tabcf.run.run import Run
    from tabcf.tuning.search import tune

__all__ = [
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

__version__ = "0.1.0"

_HOMES = {
    "CollabNN": "tabcf.nn",
    "CrossValidation": "tabcf.run.cross_validation",
    "DataError": "tabcf.errors",
    "DotProduct": "tabcf.nn",
    "DotProductBias": "tabcf.nn",
    "EmbeddingNN": "tabcf.nn",
    "Run": "tabcf.run.run",
    "RunError": "tabcf.errors",
    "SpecError": "tabcf.errors",
    "TabcfError": "tabcf.errors",
    "TabularModel": "tabcf.nn",
    "fit": "tabcf.run.fit",
    "load": "tabcf.run.folder",
    "tune": "tabcf.tuning.search",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tabcf' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
