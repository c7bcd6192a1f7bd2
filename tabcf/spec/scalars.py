"""What an unquoted word of YAML means: a narrower reading than YAML 1.1's, without its traps.

| written                          | read as                                              |
|----------------------------------|------------------------------------------------------|
| `true`, `True`, `TRUE`, `false`… | a boolean; `yes`, `no`, `on`, `off` are text         |
| `null`, `~`, nothing             | nothing                                              |
| `0`, `-7`, `42`                  | an integer; `010`, `0x1F`, `1_000`, `12:30` are text |
| `.5`, `1.`, `2e-2`, `1E5`        | a number; `010.5` is text                            |
| `.inf`, `-.inf`, `.nan`          | a number; `inf` and `nan` are text                   |
| anything else, dates too         | text                                                 |
"""

from __future__ import annotations

import re

__all__ = ["Scalar", "read_scalar"]

Scalar = str | int | float | bool | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII
)
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
# Nothing is counted with more digits, and turning a million of them into a number takes seconds.
_MOST_CHARACTERS = 300


def read_scalar(text: str) -> Scalar:
    """The value of an unquoted word.

    Example:
        >>> [read_scalar(word) for word in ("2e-2", "no", "010", "12:30", "~", "true")]
        [0.02, 'no', '010', '12:30', None, True]
    """
    if text in _NULL:
        return None
    if len(text) > _MOST_CHARACTERS or text[0] not in "+-.0123456789tTfF":
        return text
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if text in _NAN else text
