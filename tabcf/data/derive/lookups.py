"""Values looked up in a list or a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tabcf.data.derive.texts import as_text, translated
from tabcf.data.sources import Source
from tabcf.errors import DataError

__all__ = ["looked_up", "lookup_of_frame"]


def lookup_of_frame(frame: pd.DataFrame, file: str, *, key: str, value: str) -> dict[str, str]:
    """What a file says of each key, as texts; rows without a key or a value are left out.

    Args:
        frame: The file's rows.
        file: Its name for messages.
        key: The column of keys.
        value: The column of values.

    Raises:
        DataError: A column is missing, or a key comes twice.
    """
    source = Source(frame, file)
    source.require([key, value])
    keys, values = as_text(frame[key]), as_text(frame[value])
    is_repeat = (keys.duplicated() & keys.notna()).to_numpy()
    if is_repeat.any():
        first = int(is_repeat.argmax())
        raise DataError(
            f"{file}: column '{key}': expected each key once; {keys.iloc[first]!r} comes again at "
            f"{source.place(first)}"
        )
    is_given = keys.notna() & values.notna()
    return dict(zip(keys[is_given], values[is_given], strict=True))


def looked_up(
    series: pd.Series[Any], values: Mapping[str, str], *, default: str | None = None
) -> pd.Series[Any]:
    """What is listed for each value's text, else `default`; a missing value stays missing.

    Example:
        >>> looked_up(pd.Series([1.0, 2.0]), {"1": "one"}, default="many").tolist()
        ['one', 'many']
    """
    return translated(series, lambda text: values.get(text, default))
