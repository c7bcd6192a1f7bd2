"""A fit by two processes is that of one, and goes on after one of them was killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Generator

import tabcf
from tabcf.contracts.definitions import EngineDefinition
from tabcf.contracts.launch import Launch
from tabcf.contracts.options import NoOptions
from tabcf.data.batches import Batch, stack, take
from tabcf.data.parts import TRAIN
from tabcf.data.splits import random_split
from tabcf.errors import DataError, RunError, SpecError
from tabcf.plugin.hooks import hookimpl
from tabcf.run.build import build_objective
from tabcf.run.cached import encode_split
from tabcf.run.checkpoints import kept_by
from tabcf.run.own_rows import load_own
from tabcf.run.progress import Silent
from tabcf.run.rank_process import work
from tabcf.run.registry import compose_registry
from tabcf.run.torchrun import fit_as_one_of_several
from tabcf.spec.read import read_spec
from tabcf.training.loop import EpochReport
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.scale_out.own import OwnRows
from tabcf.training.scale_out.seam import ALONE
from tests.flow.test_two_stage import ratings
from tests.unit.cli.test_cli import call


def spec(**train: Any) -> dict[str, Any]:
    """A network with batch normalisation, whose tables are spread over the processes."""
    return {
        "tabcf": 1,
        "name": "shared",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"embedding_nn": {"layers": [8]}},
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        "train": {
            "epochs": 4,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "engine": "eager",
            "shard": {"rows": 2},
            "checkpoint": {"steps": 8},
            **train,
        },
    }


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return ratings()


class Killing(Silent):
    """Kills one of the processes when the first epoch is told of."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []
        self.others = self.children()

    def epoch(self, report: EpochReport, epochs: int) -> None:
        self.reports.append(report)
        if len(self.reports) == 1:
            _, second = sorted(self.children() - self.others)
            os.kill(second, signal.SIGKILL)

    def children(self) -> set[int]:
        tasks = Path("/proc/self/task").glob("*/children")
        return {int(pid) for path in tasks for pid in path.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_two_processes_of_which_one_is_killed_end_as_one(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Their losses are those of one, and one process goes on from the state of both."""
    alone = tabcf.fit(spec(), frame)
    out, progress = tmp_path / "run", Killing()
    with pytest.raises(RunError, match=r"process \d of the 2 that train: .*signal 9.*--resume"):
        tabcf.fit(spec(workers=2), frame, out, progress=progress)
    assert kept_by(out) == "several"
    assert not out.exists()
    first = alone.report.epochs[0]
    assert progress.reports[0].train_loss == pytest.approx(first.train_loss, rel=1e-5)
    assert progress.reports[0].validation["rmse"] == pytest.approx(first.validation["rmse"], 1e-5)

    frame.to_parquet(tmp_path / "data.parquet")
    told: list[Any] = []
    work(as_one(tmp_path), told.append)
    assert any("goes on from epoch" in message.get("note", "") for message in told)
    run = tabcf.load(out)
    for own, other in zip(run.report.epochs, alone.report.epochs, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-5)
    assert run.report.test == pytest.approx(alone.report.test, rel=1e-4)
    weights = run.trained.model.state_dict()
    for name, value in alone.trained.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert kept_by(out) is None


def as_one(folder: Path, **changes: Any) -> dict[str, Any]:
    """The task of a process that is all there are."""
    return {
        "spec": spec(),
        "folder": None,
        "data": str(folder / "data.parquet"),
        "name": "shared",
        "plugins": [],
        "out": str(folder / "run"),
        "is_resumed": True,
        "cache": False,
        "rank": 0,
        "size": 1,
        "meeting": (folder / "meeting").as_uri(),
        **changes,
    }


def test_torchruns_variables_are_noticed(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame.to_csv(tmp_path / "data.csv", index=False)
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump({**spec(epochs=1), "data": "data.csv"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    code, out, err = call("fit", str(path))
    assert code == 0
    assert "engine: eager: processes share the rows of every batch" in err
    assert out.splitlines()[-1] == str(Path("runs/shared-1"))
    assert tabcf.load(tmp_path / "runs/shared-1").report.test


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"split": {"kfold": {"k": 3}}}, {}, "folds are fitted side by side already"),
        ({"model": "ease", "target": {"implicit": {}}}, {}, "ease is solved rather than trained"),
        (
            {"train": {"workers": 2, "shard": {"data": True}}, "target": {"implicit": {}}},
            {},
            "train.shard.data: expected a loss of single events.* leave train.shard.data out",
        ),
        ({}, {"out": None}, "expected the folder of the run"),
        ({}, {"plugins": [object()]}, "expected plugins as names of modules"),
    ],
)
def test_what_several_processes_cannot_do_is_said_at_once(
    changes: dict[str, Any],
    options: dict[str, Any],
    message: str,
    frame: pd.DataFrame,
    tmp_path: Path,
) -> None:
    given = {"out": tmp_path / "run", **options}
    with pytest.raises((SpecError, RunError), match=message):
        tabcf.fit({**spec(workers=2), **changes}, frame, **given)
    assert not list(tmp_path.iterdir())


def nowhere(launch: Launch, options: Any) -> Mapping[int, str]:
    return dict.fromkeys(range(launch.size), "it was nowhere")


class Elsewhere:
    """A plugin whose processes are nowhere."""

    @hookimpl
    def tabcf_engines(self) -> list[EngineDefinition]:
        return [
            EngineDefinition(name="elsewhere", options=NoOptions, summary="Away.", launch=nowhere)
        ]


def test_an_engines_processes_are_for_one_fit_and_not_torchruns(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = [Elsewhere()]
    given = spec(engine="elsewhere")
    with pytest.raises(SpecError, match=r"folds are fitted side by side already.*of this process"):
        tabcf.fit({**given, "split": {"kfold": 3}}, frame, tmp_path / "run", plugins=plugins)
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump(given))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(SpecError, match="elsewhere starts the processes itself"):
        fit_as_one_of_several(
            path,
            None,
            None,
            runs=tmp_path,
            overrides=(),
            plugins=plugins,
            progress=None,
            resume=False,
            cache=False,
        )


def test_how_an_engines_process_ended_is_said(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_from_spec(ModuleSpec("elsewhere", None))
    monkeypatch.setattr(module, "tabcf_engines", Elsewhere().tabcf_engines, raising=False)
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    with pytest.raises(RunError, match="process 0 of the 1 that train: it was nowhere"):
        tabcf.fit(spec(engine="elsewhere"), frame, tmp_path / "run", plugins=["elsewhere"])
    assert not list(tmp_path.iterdir())


def test_a_fit_begun_by_one_process_is_gone_on_with_by_one(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / ".run.partial/fit").mkdir(parents=True)
    (tmp_path / ".run.partial/fit/000000000003.safetensors").touch()
    with pytest.raises(RunError, match="found one by a single process"):
        tabcf.fit(spec(workers=2), frame, tmp_path / "run", resume=True)


def of_each_kind(path: Path) -> Path:
    """Ratings with further columns, some with gaps, in row groups of 75."""
    found = ratings().assign(item_id=lambda f: "i" + f["item_id"].astype(str))
    rng = np.random.default_rng(5)
    found["minutes"] = np.where(rng.random(len(found)) < 0.1, np.nan, rng.normal(30, 9, len(found)))
    found["device"] = rng.choice(["tv", "phone", None], len(found))
    found.to_parquet(path, row_group_size=75)
    return path


def own_rows(**changes: Any) -> dict[str, Any]:
    """A network, whose processes have training rows of their own."""
    return {
        **spec(shard={"data": True}, epochs=2, average=None),
        "columns": {"minutes": "number", "device": "category"},
        **changes,
    }


class Joined(PointwiseObjective):
    """The batches of processes that have rows of their own, put together."""

    owners: np.ndarray

    @property
    def by_rank(self) -> list[OwnRows]:
        ranks = [torch.from_numpy(np.flatnonzero(self.owners == rank)) for rank in range(2)]
        return [
            OwnRows(
                take(self.table, own),
                self.model,
                self.loss_module,
                lengths=[len(each) for each in ranks],
                rank=rank,
                batch_size=self.batch_size,
                masking=self.masking,
            )
            for rank, own in enumerate(ranks)
        ]

    @property
    def n_steps(self) -> int:
        return self.by_rank[0].n_steps

    def epoch(self, rng: Generator) -> Iterator[Batch]:
        state, drawn = rng.get_state(), []
        for own in self.by_rank:
            rng.set_state(state)
            drawn.append(list(own.epoch(rng)))
        for parts in zip(*drawn, strict=True):
            batches = [part.batch for part in parts]
            yield Batch(
                stack(*(batch.inputs for batch in batches)),
                torch.cat([batch.target for batch in batches]),
                None,
            )


def in_their_order(monkeypatch: pytest.MonkeyPatch, n: int = 900) -> None:
    """Have one process draw the batches that two draw with rows of their own."""
    part = random_split(
        pd.DataFrame(index=range(n)), valid=0.1, test=0.2, rng=np.random.default_rng(42)
    )
    owners = (np.arange(n) // 75 % 2)[part == TRAIN]

    def build(*args: Any, **options: Any) -> Joined:
        found = build_objective(*args, **options)
        assert type(found) is PointwiseObjective
        joined = Joined(
            found.table,
            found.model,
            found.loss_module,
            batch_size=found.batch_size,
            masking=found.masking,
        )
        joined.owners = owners
        return joined

    monkeypatch.setattr("tabcf.run.train.build_objective", build)


class Apart(type(ALONE)):  # type: ignore[misc]  # there is one of it
    """A process that hears of others who have something else."""

    def __init__(self, other: Any) -> None:
        self.other = other

    def all(self, value: Any) -> Any:
        return [value, self.other]


def test_other_files_or_no_training_rows_are_named(tmp_path: Path) -> None:
    path = of_each_kind(tmp_path / "data.parquet")
    document = read_spec(own_rows(), compose_registry([]))
    given = document.spec, document.registry
    with pytest.raises(DataError, match="expected the same data in all processes"):
        load_own(*given, Apart([]), data=path)
    events = replace(load_own(*given, ALONE, data=path), ranks=Apart(0))
    with pytest.raises(DataError, match="the split leaves process 1 of 2 none"):
        encode_split(*given, events, TRAIN)


def test_two_processes_with_rows_of_their_own_are_one_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And learn the same of columns, split alike, and measure all rows."""
    path = of_each_kind(tmp_path / "data.parquet")
    given = own_rows()
    two = tabcf.fit({**given, "train": {**given["train"], "workers": 2}}, path, tmp_path / "run")
    in_their_order(monkeypatch)
    one = tabcf.fit(given, path)
    assert isinstance(two, tabcf.Run)
    assert isinstance(one, tabcf.Run)
    state, arrays = two.trained.encoder.to_json()
    assert (state, arrays) == one.trained.encoder.to_json()
    for name, entity in one.trained.encoder.entities.items():
        other = two.trained.encoder.entities[name]
        assert entity.ids.to_json() == other.ids.to_json()
        np.testing.assert_array_equal(entity.n_events, other.n_events)
    assert two.trained.target == one.trained.target
    assert two.report.n_rows == one.report.n_rows
    assert two.report.test_rows == one.report.test_rows
    assert two.report.baselines == one.report.baselines
    for name, means in one.mean_targets.items():
        np.testing.assert_array_equal(two.mean_targets[name], means)
    kept = two.trained.events.source.frame
    pd.testing.assert_frame_equal(kept, one.trained.events.source.frame[kept.columns])
    for own, other in zip(two.report.epochs, one.report.epochs, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert own.validation == pytest.approx(other.validation, rel=1e-4)
    assert two.report.test == pytest.approx(one.report.test, rel=1e-4)
