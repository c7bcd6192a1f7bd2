"""A mapping given from Python, as the plain values that YAML would have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tabcf.contracts.options import Options
from tabcf.errors import SpecError
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import as_text

__all__ = ["plain_values"]

_MOST_DEPTH = 30


def plain_values(value: Any, path: KeyPath = ()) -> Any:
    """Mappings, tuples, paths and records as dicts, lists, texts and dicts; keys are text.

    Raises:
        SpecError: It nests beyond any spec, as one that holds itself does.

    Example:
        >>> plain_values({"model": {"embedding_nn": {"layers": (100, 50)}}})
        {'model': {'embedding_nn': {'layers': [100, 50]}}}
    """
    if len(path) > _MOST_DEPTH:
        raise SpecError([f"{as_text(path[:3])}: expected at most {_MOST_DEPTH} levels of nesting"])
    if isinstance(value, Options):
        value = value.model_dump(by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {str(key): plain_values(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item, (*path, i)) for i, item in enumerate(value)]
    return str(value) if isinstance(value, PurePath) else value
