"""Folders kept on disk by a key, up to a size in all: the least recently used ones go.

    KEY/              an entry's own files
    KEY/entry.json    their sizes and checksums; its time of change is when it was used last
    .partial-*        an entry that is being written; what a killed process left goes in a day

An entry is written beside and renamed when it is whole, so that several processes may read and
write at once: of two that make the same one, the second discards its own. What is removed while
another process has it mapped stays on disk until that one lets go.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["Entries", "Kept"]

_ABOUT = "entry.json"
_PARTIAL = ".partial-"
_DAY = 86_400
# Of a file above so many bytes, samples at so many bytes from one another and its end.
_SAMPLE, _EVERY = 1 << 12, 1 << 22

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry: its key, what it is of, its bytes, and when it was used last in seconds."""

    key: str
    label: str
    n_bytes: int
    used: float


class Entries:
    """The entries in a folder.

    Args:
        folder: Where; made with the first one.
        limit: Bytes of all entries together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def read(self, key: str, read: Callable[[Path], _T]) -> _T | None:
        """What `read` makes of an entry's folder; None where there is no whole entry.

        One that is damaged is removed.
        """
        folder = self.folder / key
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            about = None
        if about is not None:
            try:
                if _sums(folder) == about["files"]:
                    found = read(folder)
                    os.utime(folder / _ABOUT)
                    return found
            except (OSError, ValueError, KeyError, TypeError):
                pass
        if folder.exists():
            self._remove(folder)
        return None

    def write(
        self, key: str, write: Callable[[Path], None], *, label: str = "", n_bytes: int = 0
    ) -> bool:
        """Make an entry of what `write` puts into an empty folder.

        Args:
            key: The entry's.
            write: Writes it.
            label: What it is of.
            n_bytes: What it will have at least; what is too large then is not begun.

        Returns:
            Whether it is there now; not if the disk is full or it is larger than all may be.
        """
        if n_bytes > self.limit:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.folder))
        except OSError:
            return False
        try:
            write(scratch)
            files = _sums(scratch)
            n_bytes = sum(size for size, _ in files.values())
            if n_bytes > self.limit:
                return False
            about = {"label": label, "bytes": n_bytes, "files": files}
            (scratch / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            scratch.rename(self.folder / key)
        except OSError:
            return (self.folder / key / _ABOUT).exists()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._make_room(key)
        return True

    def all(self) -> list[Kept]:
        """Every whole entry, the one that was used last before the others."""
        found = []
        for path in self.folder.glob(f"*/{_ABOUT}"):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
                used = path.stat().st_mtime
                found.append(Kept(path.parent.name, about["label"], about["bytes"], used))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return sorted((kept for kept in found if kept.key[0] != "."), key=lambda kept: -kept.used)

    def clear(self) -> int:
        """Remove all entries; gives how many."""
        found = self.all()
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            self._remove(path)
        return len(found)

    def _make_room(self, newest: str) -> None:
        """Remove what was not used for the longest time, and what a killed process left."""
        total = 0
        for kept in self.all():
            total += kept.n_bytes
            if total > self.limit and kept.key != newest:
                self._remove(self.folder / kept.key)
        for path in self.folder.glob(f"{_PARTIAL}*"):
            try:
                is_left = time.time() - path.stat().st_mtime > _DAY
            except OSError:
                continue
            if is_left:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """Take an entry away at once, and then its files."""
        try:
            with tempfile.TemporaryDirectory(
                prefix=_PARTIAL, dir=self.folder, ignore_cleanup_errors=True
            ) as gone:
                path.rename(Path(gone) / path.name)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)


def _sums(folder: Path) -> dict[str, list[int]]:
    """Of each file but the entry's own: its size, and a checksum of samples of it."""
    return {
        str(path.relative_to(folder)): _sum(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / _ABOUT
    }


def _sum(path: Path) -> list[int]:
    """Size and CRC-32 of a small file, or of a large one's start, end and samples between."""
    size, checksum = path.stat().st_size, 0
    if size <= _EVERY:
        return [size, zlib.crc32(path.read_bytes())]
    with path.open("rb", buffering=0) as file:
        for start in [*range(0, size, _EVERY), size - _SAMPLE]:
            file.seek(start)
            checksum = zlib.crc32(file.read(_SAMPLE), checksum)
    return [size, checksum]
