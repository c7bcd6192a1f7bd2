"""A fit within a memory budget finds its rows in the cache, and is the same to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabcf
from tabcf.data.parts import TRAIN, VALID
from tabcf.errors import SpecError
from tabcf.run import cached
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tests.flow.test_cache import BASE, IDS, assert_same, fit, folder, kept, nothing_is_read, settle
from tests.flow.test_resume import Breaking, Broken

__all__ = ["folder", "nothing_is_read"]  # fixtures

CHUNKS = {"chunk": 64, "together": 2}
RATED: dict[str, Any] = {
    **BASE,
    "entities": {
        "user": BASE["entities"]["user"],
        "item": {"id": "item_id", "table": "items.csv", "label": "title", "columns": {}},
    },
    "columns": {"device": "category", "minutes": "number"},
    "train": {"epochs": 2, "batch_size": 64, "user_weights": 0.5, "shuffle": CHUNKS},
}
RANKED: dict[str, Any] = {
    **RATED,
    "target": {"implicit": {"positive": "rating >= 3", "weight": "minutes"}},
    "columns": {},
    "entities": IDS,
    "split": {"time": {"valid": 0.2, "test": 0.2}},
    "model": "dot_product_bias",
    "loss": "bpr",
    "train": {"epochs": 2, "batch_size": 64, "refit": True, "shuffle": CHUNKS},
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabcf.data.spool._BLOCK", 130)
    monkeypatch.setattr("tabcf.data.stored._COPIED", 500)


@pytest.mark.parametrize("spec", [RATED, RANKED], ids=["rated", "ranked"])
def test_the_second_fit_reads_nothing(
    spec: dict[str, Any], folder: Path, nothing_is_read: Any
) -> None:
    in_memory = fit(spec, folder, cache=False)
    first = fit(spec, folder, memory="2GB")
    settle(folder)
    fit(spec, folder, memory="2GB")  # which hashes files once more that were new before
    nothing_is_read()
    second = fit(spec, folder, memory="2GB")
    assert_same(second, first)
    for name, value in in_memory.trained.model.state_dict().items():
        np.testing.assert_array_equal(second.trained.model.state_dict()[name], value)
    # Rows, those trained on, those held out and warnings; and again to refit on more of them.
    assert len(kept(folder)) == (5 if spec is RANKED else 4)


def test_fits_in_memory_have_entries_of_their_own(folder: Path) -> None:
    fit(RATED, folder, memory="2GB")
    assert_same(fit(RATED, folder), fit(RATED, folder, cache=False))
    assert kept(folder).count("ratings.csv") == 2


def test_other_bytes_are_other_rows(folder: Path) -> None:
    fit(RATED, folder, memory="2GB")
    rows = (folder / "ratings.csv").read_text().splitlines()
    (folder / "ratings.csv").write_text("\n".join(rows[:-7]) + "\n")
    assert sum(fit(RATED, folder, memory="2GB").report.n_rows.values()) == 393


def test_what_needs_all_rows_is_refused_also_when_they_are_there(folder: Path) -> None:
    fit(RANKED, folder, memory="2GB")
    solved = {**RANKED, "model": "ease", "train": {}}
    del solved["loss"]
    with pytest.raises(SpecError, match="ease is solved from all rows at once"):
        fit(solved, folder, memory="2GB")
    with pytest.raises(SpecError, match=r"train.memory: expected at least .*GB, got 20MB"):
        fit(RANKED, folder, memory="20MB")


def test_what_is_larger_than_the_cache_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABCF_CACHE_GB", "0.000001")
    written: list[Any] = []
    for name in ("write_events", "write_encoded"):
        monkeypatch.setattr(cached, name, lambda *given: written.append(given))
    fit(RATED, folder, memory="2GB")
    assert kept(folder) == ["ratings.csv, warnings"]
    assert not written


def test_several_at_once_make_and_find_the_same_rows(folder: Path) -> None:
    given = {**RANKED, "train": {**RANKED["train"], "memory": "2GB"}}
    registry = compose_registry([])
    spec = read_spec(given, registry).spec

    def rows(_: int) -> list[np.ndarray]:
        events = cached.load_events(spec, registry, folder=folder)
        encoded = cached.encode_split(spec, registry, events, TRAIN, VALID)
        assert encoded.train.weight is not None
        assert encoded.past is not None
        found = [*encoded.train.rows.values(), encoded.train.weight]
        return [*(values.numpy().copy() for values in found), encoded.past.seen.items]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(rows, range(4)))
    for other in found[1:]:
        for own, expected in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(own, expected)
    assert len(kept(folder)) == 2
    assert not list((folder / "cache" / "encoded").glob(".partial-*"))


def test_a_fit_that_was_broken_off_goes_on_from_the_cache_within_another_budget(
    folder: Path, nothing_is_read: Any
) -> None:
    train = {**RANKED["train"], "refit": False, "checkpoint": {"steps": 2}}
    spec = {**RANKED, "train": train}
    settle(folder)
    with pytest.raises(Broken):
        fit(spec, folder, out="run", memory="2GB", progress=Breaking(5))
    nothing_is_read()
    resumed = fit(spec, folder, out="run", memory="3GB", resume=True)
    expected = fit(spec, folder, memory="2GB")
    for name, value in expected.trained.model.state_dict().items():
        np.testing.assert_array_equal(resumed.trained.model.state_dict()[name], value)
    assert isinstance(tabcf.load("run"), tabcf.Run)
