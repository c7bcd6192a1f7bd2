"""Whether a text file's numbers may be read as they stand, without a look at each as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["is_plain"]

# Bytes looked at at a time, so that what is in between stays in the processor's cache.
_BLOCK = 1 << 18
# Bytes behind a separator that are looked at.
_AHEAD = 3
# By character, whether a value that begins with it is odd whatever follows.
_IS_ODD = np.isin(np.arange(256), [ord(character) for character in '" +'])


def is_plain(path: Path, start: int, delimiter: str) -> bool:
    r"""Whether no value behind byte `start` begins with a quote, space, plus or spare zero.

    So a column that Arrow can read as whole numbers has none that was written in another way, such
    as `007`, `-0` or `0x1F`. In a column of text such values are harmless, but not told apart here.

    Args:
        path: The file.
        start: Where its first line of values begins, behind a line.
        delimiter: What stands between values.
    """
    content = np.asarray(np.memmap(path, np.uint8, "r"))
    for first in range(start - 1, len(content), _BLOCK):
        block = content[first : first + _BLOCK + _AHEAD]
        if len(block) < _BLOCK + _AHEAD:
            block = np.concatenate([block, np.full(_AHEAD, ord("\n"), np.uint8)])
        if _has_odd(block, ord(delimiter)):
            return False
    return True


def _has_odd(block: np.ndarray, delimiter: int) -> bool:
    """Whether an odd value begins behind one of a block's bytes but for the last three."""
    before = block[:-_AHEAD]
    # In ASCII, separators are below all digits and letters, as is what odd values begin with.
    is_candidate = before <= ord(",")
    if delimiter > ord(","):
        is_candidate |= before == delimiter
    is_candidate &= block[1 : 1 - _AHEAD] <= ord("0")
    places = np.flatnonzero(is_candidate)
    places = places[_separates(before[places], delimiter)]
    if not len(places):
        return False
    places += 1
    first = block.take(places)
    if _IS_ODD.take(first).any():
        return True
    is_negative = first == ord("-")
    places += is_negative
    is_zero = block.take(places) == ord("0")
    follower = block.take(places[is_zero] + 1)
    is_alone = _separates(follower, delimiter) & ~is_negative[is_zero]
    return not bool((is_alone | (follower == ord("."))).all())


def _separates(characters: np.ndarray, delimiter: int) -> np.ndarray:
    """`(n,)` booleans: a delimiter, a line's end or a tab."""
    return np.asarray((characters <= ord("\r")) | (characters == delimiter))
