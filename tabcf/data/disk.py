"""Arrays on disk that grow by blocks and are read through memory maps.

Their files have no names: they are gone when the process ends, however it ends. What was read
counts as the process's memory until it is let go, after which it is read from disk again.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

import numpy as np

from tabcf.errors import DataError

__all__ = ["DiskArray", "DiskArrays", "let_go"]

# Bytes copied at a time where values get a wider type.
_COPIED = 1 << 22


class DiskArray:
    """One array that rows are appended to; of the narrowest type that all its blocks fit.

    Args:
        folder: Where the file is; by default where temporary files are.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._dtype = np.dtype(np.int8)
        self._shape: tuple[int, ...] = ()
        self._n = 0
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        return self._n

    @property
    def dtype(self) -> np.dtype[Any]:
        """The values' type so far."""
        return self._dtype

    def append(self, values: np.ndarray) -> None:
        """Write `(n, …)` rows behind the others.

        Raises:
            DataError: The disk is full, or cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._new_file()
                self._dtype, self._shape = values.dtype, values.shape[1:]
            elif values.dtype != self._dtype:
                self._widen(np.promote_types(values.dtype, self._dtype))
            rows = np.ascontiguousarray(values, dtype=self._dtype)
            # Times have no buffer of their own.
            self._file.write(rows.view(np.uint8).data if rows.size else b"")
        except OSError as error:
            raise _no_room(error) from None
        self._n += len(values)

    def opened(self) -> np.ndarray:
        """`(n, …)`: all rows as a memory map; nothing is appended afterwards.

        Whoever changes values changes them in memory alone, and only until it is let go.
        """
        if not self._n or self._file is None or not int(np.prod(self._shape)):
            return np.zeros((self._n, *self._shape), self._dtype)
        try:
            with self._file as file:  # a map outlives its file
                file.flush()
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise _no_room(error) from None
        return np.frombuffer(self._map, self._dtype).reshape(self._n, *self._shape)

    def release(self) -> None:
        """Let go of the memory that reading took, where the system can do that."""
        if self._map is not None:
            let_go(self._map)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Give all rows so far another type."""
        assert self._file is not None
        if dtype == self._dtype:
            return
        old, new = self._file, self._new_file()
        old.seek(0)
        while part := old.read(_COPIED):
            new.write(np.frombuffer(part, self._dtype).astype(dtype).view(np.uint8).data)
        old.close()
        self._file, self._dtype = new, dtype

    def _new_file(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self._folder, buffering=_COPIED)  # noqa: SIM115 - open for long
        weakref.finalize(self, file.close)
        return file


class DiskArrays:
    """Several arrays by name, of as many rows each.

    Args:
        folder: Where their files are; by default where temporary files are.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._arrays: dict[str, DiskArray] = {}

    def append(self, name: str, values: np.ndarray) -> None:
        """Write rows behind those of an array; the first ones make it."""
        if name not in self._arrays:
            self._arrays[name] = DiskArray(self._folder)
        self._arrays[name].append(values)

    def opened(self) -> dict[str, np.ndarray]:
        """All of them as memory maps; nothing is appended afterwards."""
        return {name: array.opened() for name, array in self._arrays.items()}

    def release(self) -> None:
        """Let go of the memory that reading took."""
        for array in self._arrays.values():
            array.release()


def let_go(mapped: mmap.mmap) -> None:
    """Let go of the memory that reading a map took, where the system can do that."""
    advice = getattr(mmap, "MADV_DONTNEED", None)
    if advice is not None:
        mapped.madvise(advice)


def _no_room(error: OSError) -> DataError:
    where = tempfile.gettempdir()
    return DataError(
        f"train.memory: rows are kept on disk, in {where}, which failed: {error.strerror}; the "
        "environment variable TMPDIR names another folder"
    )
