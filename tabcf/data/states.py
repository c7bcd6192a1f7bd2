"""What columns learnt, as JSON and arrays: two files that hold no code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tabcf.errors import PluginError

__all__ = ["joined", "split"]

_ARRAY = "tabcf:array"


def split(value: Any, name: str) -> tuple[Any, dict[str, np.ndarray]]:
    """A state's plain values, and its arrays under names that start with `name`.

    Raises:
        PluginError: It holds something else than JSON's values and arrays of plain numbers or
            texts.

    Example:
        >>> plain, arrays = split({"edges": np.array([1, 2])}, "age")
        >>> plain, list(arrays)
        ({'edges': {'tabcf:array': 'age/edges'}}, ['age/edges'])
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufU":
            raise PluginError(f"state of {name}: an array of {value.dtype} cannot be saved")
        return {_ARRAY: name}, {name: value}
    if isinstance(value, Mapping):
        parts = {str(key): split(item, f"{name}/{key}") for key, item in value.items()}
        arrays = {key: array for _, found in parts.values() for key, array in found.items()}
        return {key: plain for key, (plain, _) in parts.items()}, arrays
    if isinstance(value, (list, tuple)):
        items = [split(item, f"{name}/{position}") for position, item in enumerate(value)]
        arrays = {key: array for _, found in items for key, array in found.items()}
        return [plain for plain, _ in items], arrays
    if value is None or isinstance(value, (bool, int, float, str)):
        return value, {}
    if isinstance(value, np.generic):
        return value.item(), {}
    raise PluginError(
        f"state of {name}: expected plain values and arrays, got {type(value).__name__}"
    )


def joined(plain: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The state that `split` took apart."""
    if isinstance(plain, dict):
        if set(plain) == {_ARRAY}:
            return arrays[plain[_ARRAY]]
        return {key: joined(item, arrays) for key, item in plain.items()}
    if isinstance(plain, list):
        return [joined(item, arrays) for item in plain]
    return plain
