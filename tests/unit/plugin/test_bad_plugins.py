"""Bad plugins: each is named by a clear message, and the rest goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.definitions import ColumnDefinition, LossDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.errors import PluginError, SpecError, TrainingError
from tabcf.losses import MSE
from tabcf.plugin.hooks import hookimpl
from tabcf.run.plugins import plugin_problems
from tabcf.run.registry import compose_registry, survey_plugins
from tabcf.testing import tiny_ratings, tiny_table

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 4}},
    "train": {"epochs": 1},
}
HEAD = """\
from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import NoOptions
from tabcf.losses import MSE
from tabcf.plugin.hooks import hookimpl


def loss(name):
    return LossDefinition(
        name=name,
        options=NoOptions,
        summary="",
        targets=frozenset({"regression"}),
        build=lambda target, options: MSE(target),
    )
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put distributions of plugins on the path; only they are allowed."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def install(name: str, text: str) -> Path:
        package = tmp_path / f"bad_{name}"
        package.mkdir()
        is_yaml = text.startswith("tabcf_plugin")
        path = package / ("plugin.yaml" if is_yaml else "__init__.py")
        path.write_text(text)
        info = tmp_path / f"tabcf_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tabcf-{name}\nVersion: 1.5\n")
        target = f"bad_{name}:plugin.yaml" if is_yaml else f"bad_{name}"
        (info / "entry_points.txt").write_text(f"[tabcf]\n{name} = {target}\n")
        names.append(name)
        monkeypatch.setenv("TABCF_PLUGINS", ",".join(names))
        return path

    return install


HOOKS = "tabcf_columns, tabcf_losses, tabcf_metrics, tabcf_models, "

INSTALLED = {
    "raises": (
        "raise RuntimeError('bad day')\n",
        "plugin tabcf-raises 1.5 cannot be imported: RuntimeError: bad day",
    ),
    "absent": (
        "import no_such_package_anywhere\n",
        "plugin tabcf-absent 1.5 cannot be imported: ModuleNotFoundError: No module named "
        "'no_such_package_anywhere'",
    ),
    "syntax": (
        "def broken(:\n",
        "plugin tabcf-syntax 1.5 cannot be imported: SyntaxError: ",
    ),
    "exits": (
        "raise SystemExit(3)\n",
        "plugin tabcf-exits 1.5 cannot be imported: SystemExit: 3",
    ),
    "clash": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return [loss('new'), loss('mse')]\n",
        "loss 'mse' is registered by both tabcf and tabcf-clash 1.5; remove one of them",
    ),
    "misspelt": (
        f"{HEAD}\n@hookimpl\ndef tabcf_loses():\n    return [loss('new')]\n",
        "plugin tabcf-misspelt 1.5: unknown hook 'tabcf_loses'",
    ),
    "argument": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses(registry):\n    return [loss('new')]\n",
        "plugin tabcf-argument 1.5: ",
    ),
    "failing": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return 1 / 0\n",
        "plugin tabcf-failing 1.5: tabcf_losses failed: ZeroDivisionError: division by zero",
    ),
    "nothing": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return None\n",
        "plugin tabcf-nothing 1.5: adds nothing; a hook is marked with "
        "tabcf.plugin.hooks.hookimpl and returns a list",
    ),
    "single": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return loss('new')\n",
        "plugin tabcf-single 1.5: tabcf_losses failed: TypeError: ",
    ),
    "wrong": (
        f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return ['new']\n",
        "plugin tabcf-wrong 1.5: 'new' is no definition; expected one of: ",
    ),
    "unmarked": (
        f"{HEAD}\ndef tabcf_losses():\n    return [loss('new')]\n",
        "plugin tabcf-unmarked 1.5: adds nothing; a hook is marked with "
        "tabcf.plugin.hooks.hookimpl and returns a list",
    ),
    "option": (
        "tabcf_plugin: 1\nname: option\nlosses: {soft: {huber: {delta: -1}}}\n",
        "/bad_option/plugin.yaml:3:32: losses.soft.delta: expected a positive number, got -1",
    ),
}


# Those that harm nobody who does not name their parts.
USABLE = {"nothing", "unmarked", "option"}


@pytest.mark.parametrize("name", INSTALLED)
def test_an_installed_plugin_that_is_bad_is_named_and_the_rest_goes_on(
    name: str, install: Any
) -> None:
    text, expected = INSTALLED[name]
    install(name, text)
    install("good", f"{HEAD}\n@hookimpl\ndef tabcf_losses():\n    return [loss('fine')]\n")
    registry, statuses = survey_plugins()
    (found,) = plugin_problems(name)
    assert expected in found
    assert [status.plugin.name for status in statuses] == sorted(["good", name])
    assert registry.full_name("loss", "fine") == "good/fine"
    run = tabcf.fit({**SPEC, "loss": "fine"}, tiny_ratings())
    assert run.spec.loss.name == "fine"
    if name not in USABLE:
        assert registry.broken.keys() == {name}
        with pytest.raises(SpecError) as caught:
            tabcf.fit({**SPEC, "loss": f"{name}/new"}, tiny_ratings())
        assert expected in str(caught.value)
        assert not registry.has("loss", f"{name}/new")


def test_two_packages_of_one_plugins_name_are_both_left_out(install: Any, tmp_path: Path) -> None:
    install("twice", "tabcf_plugin: 1\nname: twice\nlosses: {a: mse}\n")
    info = tmp_path / "other-2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2\n")
    (info / "entry_points.txt").write_text("[tabcf]\ntwice = bad_twice:plugin.yaml\n")
    registry, statuses = survey_plugins()
    said = "plugin 'twice' is of two packages, other 2 and tabcf-twice 1.5; remove one of them"
    assert {status.error for status in statuses} == {said}
    assert not registry.has("loss", "a")
    assert survey_plugins(["no:other"])[0].has("loss", "twice/a")


def test_a_yaml_plugin_that_is_gone_or_misnamed_is_named(install: Any) -> None:
    install("gone", "tabcf_plugin: 1\nname: gone\n").unlink()
    path = install("mine", "tabcf_plugin: 1\nname: yours\n")
    assert survey_plugins()[0].broken == {
        "gone": "plugin tabcf-gone 1.5: bad_gone/plugin.yaml: no such file",
        "mine": f"{path}: the plugin is called 'yours', and tabcf-mine 1.5 installs it as 'mine'; "
        "give both one name",
    }


# What shows only when it is used


class Given:
    """A plugin with one loss or one column."""

    def __init__(self, loss: Any = None, column: ColumnDefinition | None = None) -> None:
        self.loss, self.column = loss, column

    @hookimpl
    def tabcf_losses(self) -> list[LossDefinition]:
        if self.loss is None:
            return []
        return [
            LossDefinition(
                name="odd",
                options=NoOptions,
                summary="",
                targets=frozenset({"regression"}),
                build=lambda target, options: self.loss(target),
            )
        ]

    @hookimpl
    def tabcf_columns(self) -> list[ColumnDefinition]:
        return [] if self.column is None else [self.column]


class NotANumber(MSE):
    def forward(self, raw: Any, target: Any, weight: Any = None) -> Any:
        return super().forward(raw, target, weight) * float("nan")


class PerRow(MSE):
    def forward(self, raw: Any, target: Any, weight: Any = None) -> Any:
        return (raw[:, 0] - target) ** 2


class OtherNames(MSE):
    def decode(self, raw: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"stars": raw[:, 0]}


class OtherRows(MSE):
    def decode(self, raw: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"value": raw.mean()}


class OnlyTensor(MSE):
    def decode(self, raw: torch.Tensor) -> Any:
        return raw[:, 0]


class NoWidth(MSE):
    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.d_out = 0


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (NotANumber, "nan at epoch 1, step 1"),
        (PerRow, "expected the loss of a batch as a single number, got the shape (432,)"),
        (OtherNames, "expected decode to give some of value, probability, probabilities, score"),
        (OtherRows, "with a row for each of 2 rows, got {'value': ()}"),
        (NoWidth, "expected a tabcf.losses.Loss with a d_out, got"),
        (lambda target: target, "expected a tabcf.losses.Loss with a d_out, got"),
        (lambda target: 1 / 0, "loss odd: cannot be built: ZeroDivisionError: division by zero"),
        (OnlyTensor, "loss odd: expected decode to give a dict, got a Tensor"),
    ],
)
def test_a_loss_that_is_wrong_is_named_with_its_plugin(loss: Any, expected: str) -> None:
    with pytest.raises(TrainingError) as caught:
        tabcf.fit({**SPEC, "loss": "odd"}, tiny_ratings(), plugins=["no:*", Given(loss)])
    assert expected in str(caught.value)
    assert str(caught.value).endswith("the loss odd is of the plugin Given")


def test_a_yaml_plugins_loss_is_named_with_its_plugin(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("tabcf_plugin: 1\nname: n\nversion: '3'\nlosses: {l: odd}\n")
    spec = {**SPEC, "plugins": [str(tmp_path / "n.yaml")], "loss": "n/l"}
    with pytest.raises(TrainingError, match=r"step 1 .*; the loss n/l is of the plugin n 3$"):
        tabcf.fit(spec, tiny_ratings(), plugins=["no:*", Given(NotANumber)])


def test_a_plugins_loss_in_a_sum_is_named() -> None:
    spec = {**SPEC, "loss": {"sum": {"mse": 0.5, "odd": 0.5}}}
    with pytest.raises(TrainingError, match=r"; the loss Given/odd is of the plugin Given$"):
        tabcf.fit(spec, tiny_ratings(), plugins=["no:*", Given(NotANumber)])


class Whole(Options):
    size: int = 3


def column(**more: Any) -> ColumnDefinition:
    whole: dict[str, Any] = {
        "name": "odd",
        "options": Whole,
        "summary": "",
        "output": "category",
        "sources": lambda name, options: ("timestamp",),
        "apply": lambda tables, options, state: tables.column("timestamp"),
    }
    return ColumnDefinition(**{**whole, **more})


def _fails(*_: Any) -> Any:
    raise ZeroDivisionError("none here")


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (column(apply=_fails), "column 'c' (odd) failed: ZeroDivisionError: none here"),
        (column(fit=_fails), "column 'c' (odd) failed: ZeroDivisionError: none here"),
        (
            column(apply=lambda tables, options, state: pd.Series([1, 2])),
            "column 'c' (odd): expected 432 values, one a row of event, got 2",
        ),
        (
            column(apply=lambda tables, options, state: 5),
            "column 'c' (odd): expected 432 values, one a row of event, got a int",
        ),
    ],
)
def test_a_column_that_fails_is_named(definition: ColumnDefinition, expected: str) -> None:
    spec = {**SPEC, "columns": {"c": "odd"}}
    with pytest.raises(PluginError) as caught:
        tabcf.fit(spec, tiny_ratings(), plugins=["no:*", Given(column=definition)])
    assert str(caught.value) == expected


def test_a_state_that_cannot_be_saved_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    spec = {**SPEC, "columns": {"c": "odd"}}
    definition = column(fit=lambda tables, options: {"kept": object()})
    with pytest.raises(PluginError) as caught:
        tabcf.fit(
            spec,
            tiny_ratings(),
            tmp_path / "run",
            plugins=["no:*", Given(column=definition)],
        )
    assert str(caught.value) == ("state of c/kept: expected plain values and arrays, got object")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sise": 1}, "columns.c: unknown key 'sise'; did you mean 'size'? known: size"),
        ({"size": "big"}, "columns.c.size: expected an integer, got 'big'"),
    ],
)
def test_an_option_of_a_plugins_component_is_checked(options: Any, expected: str) -> None:
    registry = compose_registry(["no:*", Given(column=column())])
    assert registry.full_name("column", "odd") == "Given/odd"
    with pytest.raises(SpecError) as caught:
        tabcf.fit(
            {**SPEC, "columns": {"c": {"odd": options}}},
            tiny_ratings(),
            plugins=["no:*", Given(column=column())],
        )
    assert list(caught.value.problems) == [expected]


def test_a_loss_whose_forward_raises_is_named() -> None:
    class Raising:
        @hookimpl
        def tabcf_losses(self) -> list[LossDefinition]:
            return [
                LossDefinition(
                    name="raising",
                    options=NoOptions,
                    summary="",
                    targets=frozenset({"regression"}),
                    build=lambda target, options: _Raising(target),
                )
            ]

    class _Raising(MSE):
        def forward(self, raw: Any, target: Any, weight: Any = None) -> Any:
            raise ZeroDivisionError("no rows")

    spec = {"tabcf": 1, "target": "price", "model": "tabular", "loss": "raising"}
    expected = r"training failed: ZeroDivisionError: no rows; the loss \S*raising is of the plugin"
    with pytest.raises(TrainingError, match=expected):
        tabcf.fit(spec, tiny_table(), plugins=[Raising()])
