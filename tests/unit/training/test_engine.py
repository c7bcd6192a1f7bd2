"""Which engine a spec's training gets, and that the choice changes nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tabcf
from tabcf.errors import SpecError
from tabcf.nn import RowTable
from tabcf.run.progress import Silent
from tabcf.testing import tiny_ratings

pytest.importorskip("numba")


class Notes(Silent):
    """Keeps what a fit tells of its engine."""

    def __init__(self) -> None:
        self.engines: list[str] = []

    def note(self, text: str) -> None:
        if text.startswith("engine: "):
            self.engines.append(text.removeprefix("engine: "))


def spec(*, engine: str = "auto", train: dict[str, Any] | None = None, **changes: Any) -> Any:
    return {
        "tabcf": 1,
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
        "train": {
            "epochs": 3,
            "batch_size": 32,
            "learning_rate": 0.03,
            "engine": engine,
            **(train or {}),
        },
        **changes,
    }


def engine_of(fitted: Any) -> str:
    notes = Notes()
    tabcf.fit(fitted, tiny_ratings(), progress=notes)
    (engine,) = notes.engines
    return engine


RANKED = {"target": {"implicit": {}}, "loss": "bpr", "model": "dot_product"}
WEEKDAY = {"weekday": {"date_part": {"from": "timestamp", "part": "weekday"}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "embedding_nn"}, "its model is no plain dot product but EmbeddingNN"),
        ({"model": {"dot_product": {"dropout": 0.1}}}, "its model has dropout"),
        ({"columns": WEEKDAY}, "its model has more columns than two ids"),
        ({"loss": {"sum": {"mse": 1.0}}}, "its loss is none of mse, mae, huber, bpr but Sum"),
        (RANKED | {"loss": "sampled_bce"}, "its loss is none of .* but SampledBCE"),
        (RANKED | {"loss": "softmax"}, "its loss is one of the whole catalogue"),
        (RANKED | {"negatives": "hard"}, "its items are not drawn uniformly or by popularity"),
        (RANKED | {"negatives": {"uniform": {"shared": True}}}, "its items are not drawn"),
        (RANKED | {"unknown": "masked"}, "bpr goes with neither y_range nor unknown: masked"),
        (
            RANKED | {"model": {"dot_product": {"y_range": [0, 1]}}},
            "bpr goes with neither y_range nor unknown: masked",
        ),
    ],
)
def test_what_cannot_be_fused_is_eager_and_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=rf"^train\.engine: .* can be fused, but {reason}"):
        tabcf.fit(spec(engine="fused", **changes), tiny_ratings())
    assert re.match(f"eager: {reason}", engine_of(spec(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "dot_product", "loss": "mae"},
        {"loss": {"huber": 0.5}, "unknown": "masked"},
        RANKED,
        RANKED | {"negatives": {"popularity": 3}},
    ],
)
def test_what_can_be_fused_is(changes: dict[str, Any]) -> None:
    assert engine_of(spec(**changes)) == "fused"
    assert engine_of(spec(engine="fused", **changes)) == "fused, compiled"


def test_a_long_training_is_compiled() -> None:
    """432 ratings to train on: from 463 passes on there are 200,000 events."""
    assert engine_of(spec(train={"batch_size": 432, "epochs": 463})) == "fused, compiled"
    assert engine_of(spec(train={"batch_size": 432, "epochs": 46})) == "fused"


def test_a_refit_says_it_once() -> None:
    assert engine_of(spec(train={"refit": True})) == "fused"


def test_eager_can_be_asked_for() -> None:
    assert engine_of(spec(engine="eager")) == "eager: train.engine says so"


def test_without_numba_there_is_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tabcf.training.fused.compiled_steps", None)
    expected = "fused, not compiled: pip install 'tabcf[fast]' makes it faster"
    assert engine_of(spec(engine="fused")) == expected


def test_a_decay_that_outruns_the_momentum_is_not_compiled() -> None:
    found = engine_of(spec(engine="fused", train={"learning_rate": 0.1, "weight_decay": 2.0}))
    assert found.startswith("fused, not compiled: learning rate times weight decay is too large")


def test_all_engines_give_the_same_run(tmp_path: Path) -> None:
    """Every batch has all 30 users and 20 items, so that no row misses a step."""
    train = {"batch_size": 432, "epochs": 12, "early_stopping": 2}
    reports = {}
    for engine in ("eager", "auto", "fused"):
        run = tabcf.fit(spec(engine=engine, train=train), tiny_ratings(), tmp_path / engine)
        reports[engine] = run.report
        loaded = tabcf.load(tmp_path / engine)
        assert loaded.predict(tiny_ratings()).equals(run.predict(tiny_ratings()))
    expected = reports["eager"]
    for report in reports.values():
        assert report.best_epoch == expected.best_epoch
        assert report.test == pytest.approx(expected.test, rel=1e-4)
        assert [epoch.train_loss for epoch in report.epochs] == pytest.approx(
            [epoch.train_loss for epoch in expected.epochs], rel=1e-4
        )


def test_numba_is_imported_by_compiled_steps_alone() -> None:
    code = (
        "import sys, tabcf.cli.fit, tabcf.run.fit, tabcf.training.engine; "
        "assert 'numba' not in sys.modules; "
        "import tabcf.training.fused.compiled_steps; "
        "assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_code_is_compiled_where_there_is_nowhere_to_keep_it() -> None:
    """As on a disk that only allows reading; only a place for notebooks is looked for here."""
    code = "from tabcf.training.fused.compiled import settle; assert not settle.stats.cache_path"
    environment = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("update", ["replay", "lazy", "adagrad"])
def test_an_update_can_be_asked_for(update: str) -> None:
    expected = f"touched rows by {update}"
    eager = {"update": update, "engine": "eager"}
    assert engine_of(spec(train=eager)).endswith(expected)
    assert engine_of(spec(model="embedding_nn", train={"update": update})).endswith(expected)


def test_replay_is_what_a_compiled_engine_does() -> None:
    assert engine_of(spec(engine="fused", train={"update": "replay"})) == "fused, compiled"
    expected = "fused, not compiled: train.update is dense"
    assert engine_of(spec(engine="fused", train={"update": "dense"})) == expected


def test_an_update_that_cannot_be_is_refused_with_the_reason() -> None:
    with pytest.raises(SpecError, match=r"^train\.engine: .* fused, but train\.update is lazy"):
        tabcf.fit(spec(engine="fused", train={"update": "lazy"}), tiny_ratings())
    outrun = {"update": "replay", "learning_rate": 0.5, "weight_decay": 0.5}
    with pytest.raises(SpecError, match=r"^train\.update: replay cannot be: learning rate times"):
        tabcf.fit(spec(train=outrun), tiny_ratings())


def test_large_tables_go_by_touched_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's numbers are made small, since a large table would be slow to train."""
    monkeypatch.setattr("tabcf.training.store.choice._NUMBERS", 30)
    small = {"batch_size": 2}
    large = "touched rows by replay"
    assert engine_of(spec(model="embedding_nn", train=small)).endswith(large)
    assert not engine_of(spec(model="embedding_nn")).endswith(large)
    assert engine_of(spec(train=small)) == "fused, compiled"
    assert not engine_of(spec(engine="eager", train=small | {"update": "dense"})).endswith(large)
    monkeypatch.setitem(sys.modules, "tabcf.training.fused.compiled_steps", None)
    assert engine_of(spec(train=small)) == (
        "eager: not compiled: pip install 'tabcf[fast]' makes it faster; touched rows by replay"
    )


@pytest.mark.parametrize("model", ["embedding_nn", {"dot_product_bias": {"factors": 4}}])
def test_a_fit_by_touched_rows_ends_where_a_dense_one_does(model: Any, tmp_path: Path) -> None:
    """Early stopping, clipping, l2, unknown rows and the saved run go with it."""
    runs = []
    for update in ("dense", "replay"):
        train = {
            "update": update,
            "engine": "eager",
            "early_stopping": {"patience": 2},
            "clip_norm": 0.5,
            "l2": 0.001,
            "epochs": 5,
        }
        split = {"random": {"valid": 0.2, "test": 0.2}}
        fitted = spec(model=model, train=train, split=split)
        runs.append(tabcf.fit(fitted, tiny_ratings(), tmp_path / update))
    by_all, by_rows = (dict(run.report.test) for run in runs)
    assert by_rows["rmse"] == pytest.approx(by_all["rmse"], abs=1e-4)
    again = tabcf.load(tmp_path / "replay")
    one, other = (run.trained.model.state_dict() for run in (runs[1], again))
    tables = [p for p in runs[1].trained.model.parameters() if isinstance(p, RowTable)]
    assert tables
    assert all(table.keeper is None for table in tables)
    assert one.keys() == runs[0].trained.model.state_dict().keys()
    assert all(bool((one[name] == other[name]).all()) for name in one)
