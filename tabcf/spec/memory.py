"""What a person says of data larger than memory: the budget, and how rows are shuffled then."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, PositiveInt

from tabcf.contracts.options import Options

__all__ = ["Budget", "Shuffle", "bytes_of"]

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY = {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def bytes_of(text: str) -> int:
    """How many bytes a size such as `500MB`, `1.5 GB` or `2GiB` is.

    Raises:
        ValueError: It is no size, or of no byte.

    Example:
        >>> bytes_of("1.5GB"), bytes_of("2 GiB")
        (1500000000, 2147483648)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text, re.IGNORECASE)
    factor = (_UNITS | _BINARY).get(found[2].upper()) if found else None
    if found is None or factor is None or float(found[1]) * factor < 1:
        raise ValueError(f"expected a size with its unit, such as 500MB or 1.5GB, got {text!r}")
    return int(float(found[1]) * factor)


def _checked(value: object) -> object:
    bytes_of(str(value))
    return value


Budget = Annotated[str, BeforeValidator(_checked)]
"""A size of memory as it was written."""


class Shuffle(Options):
    """Shuffle training rows by chunks, as those of a fit within a memory budget are.

    Chunks of rows that lie together are drawn at random; the rows of some chunks are shuffled
    together, then come those of the next ones.
    """

    shorthand: ClassVar[str | None] = "chunk"

    chunk: PositiveInt = 4096
    """Rows of a chunk; made up to whole batches."""
    together: PositiveInt = 64
    """Chunks whose rows are shuffled together."""
