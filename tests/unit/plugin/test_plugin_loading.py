from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.contracts.definitions import ColumnDefinition, LossDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.errors import PluginError, RunError, SpecError
from tabcf.losses import MSE, Loss
from tabcf.plugin.finding import given_plugin
from tabcf.plugin.hooks import hookimpl
from tabcf.plugin.loading import register
from tabcf.run.builtins import builtin_registry
from tabcf.run.registry import compose_registry


class InitialOptions(Options):
    from_: str


class Nightlife:
    """A column (a text's first letter) and a loss, as a plugin author writes them."""

    @hookimpl
    def tabcf_columns(self) -> list[ColumnDefinition]:
        return [
            ColumnDefinition(
                name="initial",
                options=InitialOptions,
                summary="A text's first letter.",
                output="category",
                sources=lambda name, options: (options.from_,),
                apply=lambda tables, options, state: tables.column(options.from_).str[:1],
            )
        ]

    @hookimpl
    def tabcf_losses(self) -> list[LossDefinition]:
        return [
            LossDefinition(
                name="halved",
                options=NoOptions,
                summary="Half the squared error.",
                targets=frozenset({"regression"}),
                build=lambda target, options: Halved(target),
            )
        ]


class Halved(MSE):
    def forward(self, raw: Any, target: Any, weight: Any = None) -> Any:
        return super().forward(raw, target, weight) / 2


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    names = ["anna", "axel", "bert", "bodo"] * 10
    return pd.DataFrame({"name": names, "y": [1.0 if n[0] == "a" else 3.0 for n in names]})


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": "y",
        "columns": {"letter": {"initial": {"from_": "name"}}},
        "model": {"tabular": {"layers": [16]}},
        "loss": "halved",
        "train": {"epochs": 30, "batch_size": 8, "learning_rate": 0.05},
    }


def test_a_plugins_column_and_loss_are_used_saved_and_asked_for(
    frame: pd.DataFrame, spec: dict[str, Any], tmp_path: Path
) -> None:
    run = tabcf.fit(spec, frame, tmp_path / "run", plugins=[Nightlife()])
    assert [column.name for column in run.trained.encoder.layout.categorical] == ["letter"]
    assert isinstance(run.trained.loss, Halved)
    predicted = run.predict(frame)["prediction"]
    assert abs(predicted - frame["y"]).max() < 0.5
    loaded = tabcf.load(tmp_path / "run", plugins=[Nightlife()])
    pd.testing.assert_series_equal(loaded.predict(frame)["prediction"], predicted)
    with pytest.raises(RunError, match="of the plugin Nightlife; give it as load"):
        tabcf.load(tmp_path / "run")


def test_without_the_plugin_its_names_are_unknown(
    frame: pd.DataFrame, spec: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match="loss: no loss named 'halved'"):
        tabcf.fit(spec, frame)


def test_a_misspelt_hook_is_refused_by_name() -> None:
    class Misspelt:
        @hookimpl
        def tabcf_loses(self) -> list[LossDefinition]:
            return []

    with pytest.raises(PluginError, match=r"plugin Misspelt: .*tabcf_loses.*hooks: tabcf_columns"):
        compose_registry([Misspelt()])


def test_a_name_that_is_taken_names_both_plugins() -> None:
    class Clash:
        @hookimpl
        def tabcf_losses(self) -> list[LossDefinition]:
            return [builtin_registry().get("loss", "mse")]

    with pytest.raises(PluginError, match="loss 'mse' is registered by both tabcf and Clash"):
        compose_registry([Clash()])


def test_a_hook_that_fails_names_its_plugin() -> None:
    class Broken:
        @hookimpl
        def tabcf_models(self) -> list[Any]:
            raise ValueError("no weights here")

    with pytest.raises(PluginError, match="plugin Broken: tabcf_models failed: ValueError: no we"):
        register(builtin_registry(), given_plugin(Broken()), Broken())


def test_what_is_no_definition_is_refused() -> None:
    class Wrong:
        @hookimpl
        def tabcf_models(self) -> list[Any]:
            return ["mlp"]

    with pytest.raises(PluginError, match="'mlp' is no definition; expected one of: model"):
        compose_registry([Wrong()])


def test_a_broken_installed_plugin_is_set_aside_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution on the path whose module raises on import."""
    (tmp_path / "nightmare.py").write_text("raise RuntimeError('bad day')\n")
    info = tmp_path / "nightmare-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nightmare\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tabcf]\nnightmare = nightmare\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("TABCF_PLUGINS")
    registry = compose_registry()
    with pytest.raises(SpecError, match=r"plugin nightmare 1\.0 cannot be imported: Runtime"):
        registry.get("loss", "bprr")


def test_every_builtin_comes_through_the_hooks() -> None:
    assert issubclass(Halved, Loss)
    kinds = {kind for kind, found in builtin_registry() if found.origin == "tabcf"}
    assert kinds == {
        "model",
        "loss",
        "metric",
        "column",
        "fit",
        "reranker",
        "sampler",
        "split",
        "schedule",
        "tracker",
        "engine",
        "selector",
        "unknown",
    }


def test_a_plugin_that_a_spec_lists_must_be_installed(
    frame: pd.DataFrame, spec: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match="no installed plugin named 'dusk'; installed: Nightlife"):
        tabcf.fit({**spec, "loss": "mse", "plugins": ["dusk"]}, frame, plugins=[Nightlife()])
