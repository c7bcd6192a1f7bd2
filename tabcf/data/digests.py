"""Digests of files, remembered for as long as path, size, time and inode stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from tabcf.data.datasets.cache import file_digest

__all__ = ["digest_of"]

# A file that was changed so short a time ago may change again without another time of change.
_UNSETTLED_NS = 2_000_000_000


def digest_of(path: Path, memory: Path) -> str:
    """SHA-256 of a file's bytes.

    Args:
        path: The file.
        memory: A folder for what is remembered; it is made.

    Raises:
        OSError: The file cannot be read.
    """
    path = path.resolve()
    identity = _identity(path)
    note = memory / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["identity"] == identity:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = file_digest(path, "sha256")
    is_settled = time.time_ns() - path.stat().st_mtime_ns > _UNSETTLED_NS
    if is_settled and _identity(path) == identity:
        _write(note, {"path": str(path), "identity": identity, "sha256": digest})
    return digest


def _identity(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev]


def _write(note: Path, content: dict[str, object]) -> None:
    """Replace a note as a whole; where that cannot be done, the file is hashed again next time."""
    scratch = note.with_suffix(f".{os.getpid()}")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(note)
    except OSError:
        scratch.unlink(missing_ok=True)
