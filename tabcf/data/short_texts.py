"""Short texts told apart as 64-bit numbers, which is several times as fast as by their bytes.

A text of at most eight bytes, none of them zero, is one number: its bytes, with zeros behind.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["distinct_texts", "joined_codes", "text_codes"]

_LONGEST = 8
# By a text's length, the bytes that are its own.
_OWN = np.array([(1 << 8 * n) - 1 for n in range(_LONGEST + 1)], dtype=np.uint64)


def text_codes(starts: np.ndarray, characters: np.ndarray) -> pa.DictionaryArray | None:
    """A block's texts as numbers, each listed once, in the order in which they are met.

    Args:
        starts: `(N + 1,)` int32 bounds of N texts in their joined bytes.
        characters: These bytes, uint8, none of them zero.

    Returns:
        The numbers as a dictionary; None where one is longer than eight bytes.
    """
    import pyarrow as pa

    lengths = np.diff(starts)
    if sys.byteorder != "little" or not len(lengths) or lengths.max() > _LONGEST:
        return None
    words = np.zeros(len(characters) // 8 + 2, dtype=np.uint64)
    words.view(np.uint8)[: len(characters)] = characters
    first = starts[:-1]
    place, shift = first >> 3, ((first & 7) << 3).astype(np.uint64)
    # A text goes over two words at most; in two steps, as a shift by all 64 bits means nothing.
    numbers = words.take(place) >> shift
    numbers |= (words.take(place + 1) << (np.uint64(63) - shift)) << np.uint64(1)
    numbers &= _OWN.take(lengths)
    return pa.array(numbers).dictionary_encode()


def distinct_texts(codes: pa.DictionaryArray) -> pa.StringArray:
    """The texts that the numbers of a dictionary stand for."""
    import pyarrow as pa

    numbers = codes.dictionary.to_numpy(zero_copy_only=False)
    return pa.array(numbers.view(f"S{_LONGEST}")).cast(pa.string())


def joined_codes(blocks: Sequence[pa.DictionaryArray]) -> pa.DictionaryArray:
    """All blocks with one dictionary."""
    import pyarrow as pa

    return pa.chunked_array(blocks).unify_dictionaries().combine_chunks()
