"""The command line with plugins: listing, checking, starting them, and their own commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tabcf
from tabcf.cli import COMMANDS
from tabcf.plugin.registry import KINDS
from tabcf.run.registry import compose_registry
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

YAML = """\
tabcf_plugin: 1
name: night
version: 1.0.0
summary: Parts of the day.
columns:
  daypart: {hour_bins: {from: timestamp, edges: [6, 12, 18]}}
losses:
  mild: {huber: {delta: 0.5}}
entities:
  shop: {id: shop_id}
"""
PYTHON = '''\
"""A loss and a command."""

import click

from tabcf.contracts.definitions import CommandDefinition, LossDefinition
from tabcf.contracts.options import NoOptions
from tabcf.losses import MSE
from tabcf.plugin.hooks import hookimpl


@click.command()
@click.argument("word")
def command(word):
    """Say a word."""
    click.echo(f"the word is {word}")


@hookimpl
def tabcf_losses():
    return [
        LossDefinition(
            name="squared",
            options=NoOptions,
            summary="Squared error, once more.",
            example="squared",
            targets=frozenset({"regression"}),
            build=lambda target, options: MSE(target),
        )
    ]


@hookimpl
def tabcf_commands():
    return [CommandDefinition(name="NAME", summary="Say a word.", build=lambda: BUILD)]
'''
SPEC = """\
tabcf: 1
target: rating
entities:
  user: {id: user_id}
  item: {id: item_id}
model: {dot_product_bias: {factors: 4}}
train: {epochs: 1}
"""


def python_plugin(name: str = "say", build: str = "command") -> str:
    return PYTHON.replace('"NAME"', f'"{name}"').replace("BUILD", build)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put distributions of plugins on the path; only they are allowed."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    names: list[str] = []

    def install(name: str, text: str) -> Path:
        package = site / f"cli_{name}"
        package.mkdir()
        is_yaml = text.startswith("tabcf_plugin")
        path = package / ("plugin.yaml" if is_yaml else "__init__.py")
        path.write_text(text)
        info = site / f"tabcf_{name}-1.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tabcf-{name}\nVersion: 1.0.0\n"
        )
        target = f"cli_{name}:plugin.yaml" if is_yaml else f"cli_{name}"
        (info / "entry_points.txt").write_text(f"[tabcf]\n{name} = {target}\n")
        monkeypatch.delitem(sys.modules, f"cli_{name}", raising=False)
        names.append(name)
        monkeypatch.setenv("TABCF_PLUGINS", ",".join(names))
        return path

    return install


BROKEN = "plugin tabcf-bad 1.0.0 cannot be imported: RuntimeError: bad day"


@pytest.fixture
def three(install: Any) -> dict[str, Path]:
    """A YAML plugin, one in Python with a command, and a broken one."""
    return {
        "night": install("night", YAML),
        "talk": install("talk", python_plugin()),
        "bad": install("bad", "raise RuntimeError('bad day')\n"),
    }


# list and show


def test_without_plugins_the_list_says_how_to_start_one() -> None:
    assert call("plugins", "list") == (
        0,
        "no plugins; start one with: tabcf plugins new NAME\n",
        "",
    )
    assert call("plugins", "list", "--json") == (0, "[]\n", "")


def test_the_list_has_all_plugins_and_says_what_is_broken(three: Any) -> None:
    code, printed, said = call("plugins", "list")
    assert code == 0
    assert [" ".join(line.split()) for line in printed.splitlines()] == [
        "name version origin adds status",
        "bad 1.0.0 package tabcf-bad nothing broken",
        "night 1.0.0 package tabcf-night loss mild, column daypart, entity shop ok",
        "talk 1.0.0 package tabcf-talk loss squared, command say ok",
    ]
    assert said == f"{BROKEN}\n"


def test_the_list_as_json(three: dict[str, Path]) -> None:
    code, printed, said = call("plugins", "list", "--json")
    bad, night, talk = json.loads(printed)
    assert (code, said) == (0, "")
    assert len(night.pop("sha256")) == len(talk.pop("sha256")) == 64
    assert night == {
        "name": "night",
        "version": "1.0.0",
        "origin": "package tabcf-night",
        "file": str(three["night"]),
        "module": None,
        "adds": ["loss mild", "column daypart", "entity shop"],
        "status": "ok",
        "error": None,
    }
    assert (talk["module"], talk["file"], talk["status"]) == ("cli_talk", None, "ok")
    assert (bad["status"], bad["error"], bad["adds"]) == ("broken", BROKEN, [])


def test_show(three: dict[str, Path]) -> None:
    code, printed, _ = call("plugins", "show", "night")
    assert code == 0
    assert printed.startswith("name: night\nversion: 1.0.0\norigin: package tabcf-night\nfile: ")
    assert printed.endswith("adds:\n  loss mild\n  column daypart\n  entity shop\nstatus: ok\n")
    assert call("plugins", "show", "tabcf-night")[1] == printed
    record = json.loads(call("plugins", "show", "bad", "--json")[1])
    assert record["error"] == BROKEN
    assert call("plugins", "show", "bad")[1].endswith(f"status: broken\nerror: {BROKEN}\n")
    assert call("plugins", "show", "nigh") == (
        2,
        "",
        "no installed plugin named 'nigh'; did you mean 'night'? installed: bad, night, talk\n",
    )


# Which plugins


def test_a_module_is_a_plugin_with_p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cli_given.py").write_text(python_plugin())
    monkeypatch.syspath_prepend(tmp_path)
    (record,) = json.loads(call("-p", "cli_given", "plugins", "list", "--json")[1])
    assert (record["name"], record["origin"], record["status"]) == ("cli_given", "module", "ok")
    assert record["adds"] == ["loss squared", "command say"]
    assert call("-p", "cli_given", "say", "hi") == (0, "the word is hi\n", "")
    assert "say " in call("-p", "cli_given", "--help")[1]
    assert call("-p", "cli_given", "docs", "squared")[1].startswith(
        "loss cli_given/squared (of cli_given)"
    )
    code, _, said = call("say", "hi")
    assert code == 2
    assert "No such command 'say'" in said


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("cli_absent", "-p cli_absent: no module of that name on the path\n"),
        ("cli_absent.inner", "-p cli_absent.inner: no module of that name on the path\n"),
        (
            "./night.yaml",
            "-p ./night.yaml: no module of that name on the path; a spec lists YAML plugins under "
            "`plugins`\n",
        ),
        ("cli_raises", "plugin cli_raises cannot be imported: RuntimeError: not today\n"),
        ("cli_raises.inner", "-p cli_raises.inner: cannot be imported: RuntimeError: not today\n"),
    ],
)
def test_a_module_that_cannot_be_had(
    module: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli_raises").mkdir()
    (tmp_path / "cli_raises" / "__init__.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("-p", module, "plugins", "list") == (2, "", expected)


def test_plugins_are_left_out(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*options: str) -> list[str]:
        return [row["name"] for row in json.loads(call(*options, "plugins", "list", "--json")[1])]

    assert names() == ["bad", "night", "talk"]
    assert names("-p", "no:bad", "-p", "no:tabcf-talk") == ["night"]
    assert names("-p", "no:*") == names("--no-plugins") == []
    assert names("--no-plugins", "-p", "cli_talk") == ["cli_talk"]
    assert "of plugins" in call("--help")[1]
    assert "of plugins" not in call("--no-plugins", "--help")[1]
    monkeypatch.setenv("TABCF_PLUGINS", "night,absent")
    assert names() == ["night"]
    monkeypatch.setenv("TABCF_PLUGINS", "tabcf-talk")
    assert names() == ["talk"]
    monkeypatch.setenv("TABCF_PLUGINS", "")
    assert names() == []


def test_a_fit_uses_them_and_a_changed_one_is_allowed(three: Any, tmp_path: Path) -> None:
    tiny_ratings().to_csv("ratings.csv", index=False)
    Path("spec.yaml").write_text(f"{SPEC}columns: {{d: daypart}}\nloss: squared\n")
    out = str(tmp_path / "run")
    fit = ("fit", "spec.yaml", "--data", "ratings.csv", "--quiet", "--out")
    assert call(*fit, out) == (0, f"{out}\n", "")
    code, printed, _ = call("predict", out, "ratings.csv", "--limit", "2", "--csv")
    assert (code, len(printed.splitlines())) == (0, 3)
    assert tabcf.load(out).spec.loss.name == "squared"
    code, _, said = call("--no-plugins", "predict", out, "ratings.csv")
    assert code == 2
    assert said == (
        f"{out}: needs the column daypart of the plugin tabcf-night 1.0.0; "
        "pip install 'tabcf-night==1.0.0'\n"
    )
    three["night"].write_text(YAML.replace("18", "20"))
    code, _, said = call("predict", out, "ratings.csv")
    assert code == 2
    assert said.endswith("(--allow-changed-plugins)\n")
    assert call("--allow-changed-plugins", "predict", out, "ratings.csv", "--limit", "1")[0] == 0
    code, _, said = call("--no-plugins", *fit, str(tmp_path / "other"))
    assert code == 2
    assert said.startswith("spec.yaml:8:14: columns.d: no kind of column named 'daypart'; ")


# check


def test_check_says_what_is_to_be_mended(three: dict[str, Path], tmp_path: Path) -> None:
    assert call("plugins", "check") == (
        2,
        "bad: 1 to mend\nnight: ok\ntalk: ok\n",
        f"{BROKEN}\n",
    )
    assert call("plugins", "check", "night", str(three["night"])) == (
        0,
        f"night: ok\n{three['night']}: ok\n",
        "",
    )
    Path("wrong.yaml").write_text(YAML.replace("delta: 0.5", "delta: x").replace("[6, ", "[60, "))
    code, printed, said = call("plugins", "check", "wrong.yaml")
    assert (code, printed) == (2, "wrong.yaml: 2 to mend\n")
    assert said == (
        "wrong.yaml:6:49: columns.daypart.edges: expected hours between 0 and 24, rising, got "
        "[60.0, 12.0, 18.0]\n"
        "wrong.yaml:8:25: losses.mild.delta: expected a positive number, got 'x'\n"
    )
    assert call("plugins", "check", "gone.yaml") == (
        2,
        "gone.yaml: 1 to mend\n",
        "gone.yaml: no such file\n",
    )
    assert call("plugins", "check", "nobody")[0] == 2


def test_check_tries_a_python_plugins_examples(install: Any) -> None:
    install("talk", python_plugin().replace('example="squared"', 'example="{squared: {a: 1}}"'))
    assert call("plugins", "check", "talk") == (
        2,
        "talk: 1 to mend\n",
        "plugin tabcf-talk 1.0.0: example of the loss squared: unknown key 'a'; there are no "
        "options\n",
    )


# new


@pytest.mark.parametrize("is_yaml", [False, True])
def test_new_writes_a_whole_project(
    is_yaml: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--yaml"] if is_yaml else []
    code, printed, said = call("plugins", "new", "late-show", *flags)
    assert (code, said) == (0, "")
    package = "tabcf-late-show/src/tabcf_late_show"
    expected = [
        "tabcf-late-show/README.md",
        "tabcf-late-show/pyproject.toml",
        f"{package}/__init__.py",
        *([f"{package}/plugin.yaml"] if is_yaml else []),
        "tabcf-late-show/tests/test_tabcf_late_show.py",
    ]
    assert sorted(printed.splitlines()) == expected
    assert all(Path(line).is_file() for line in printed.splitlines())
    assert "{" + "name}" not in "".join(Path(line).read_text() for line in printed.splitlines())
    if is_yaml:
        file = f"{package}/plugin.yaml"
        assert call("plugins", "check", file) == (0, f"{file}: ok\n", "")
    else:
        monkeypatch.syspath_prepend(tmp_path / "tabcf-late-show" / "src")
        given = ("-p", "tabcf_late_show", "plugins", "check", "tabcf_late_show")
        assert call(*given) == (0, "tabcf_late_show: ok\n", "")
    assert call("plugins", "new", "late-show", *flags) == (
        2,
        "",
        "tabcf-late-show: already exists; nothing was written\n",
    )
    assert call("plugins", "new", "other", "--out", "deep/er", *flags)[0] == 0
    assert Path("deep/er/tabcf-other/pyproject.toml").is_file()


@pytest.mark.parametrize("name", ["Late", "1st", "a b", "../up", "a__b", "late-", ""])
def test_a_project_needs_a_plain_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = f"{name}: expected lower-case letters and digits, parted by - or _\n"
    assert call("plugins", "new", name) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []


# docs


def test_docs_of_every_component(three: Any) -> None:
    registry = compose_registry()
    names = {n for kind in KINDS for n in (*registry.names(kind), *registry.full_names(kind))}
    assert {"daypart", "night/daypart", "night/mild", "talk/squared", "mse"} <= names
    for name in sorted(names):
        code, printed, said = call("docs", name)
        assert (code, said) == (0, "")
        kinds = [kind for kind in KINDS if registry.has(kind, name)]
        heads = [line for line in printed.splitlines() if line.startswith(tuple(KINDS))]
        assert [head.partition(" ")[0] for head in heads] == kinds
        assert ("stands for: " in printed) == (registry.full_name(kinds[0], name)[:5] == "night")
    assert call("docs", "night/daypart")[1] == (
        "column night/daypart (of tabcf-night 1.0.0)\n"
        "  stands for: {hour_bins: {from: timestamp, edges: [6, 12, 18]}}\n"
    )
    code, _, said = call("docs", "night/daypar")
    assert code == 2
    assert said.startswith("no component named 'night/daypar'; did you mean 'daypart'? ")


def test_the_schema_has_the_parts_of_plugins(three: Any) -> None:
    schema = call("schema")[1]
    assert '"night/daypart"' in schema
    assert '"talk/squared"' in schema
    assert '"night/shop"' in schema


# Commands of plugins


def test_a_plugins_command_is_listed_and_run(three: Any) -> None:
    code, printed, _ = call("--help")
    assert code == 0
    built_in, _, of_plugins = printed.partition("Commands of plugins:")
    assert of_plugins.split() == ["say", "Say", "a", "word."]
    assert all(f"\n  {name} " in built_in for name in COMMANDS)
    assert call("say", "hello") == (0, "the word is hello\n", "")
    code, printed, _ = call("say", "--help")
    assert code == 0
    assert "Say a word." in printed
    assert call("say")[0] == 2


def test_a_command_of_a_builtins_name_is_refused_and_harms_nothing(install: Any) -> None:
    install("night", YAML)
    install("talk", python_plugin("fit"))
    clash = "command 'fit' is registered by both tabcf and tabcf-talk 1.0.0; remove one of them"
    code, printed, said = call("plugins", "list")
    assert (code, said) == (0, f"{clash}\n")
    assert "broken" in printed
    code, printed, said = call("--help")
    assert (code, said) == (0, "")
    assert "Commands of plugins" not in printed
    assert "Train what SPEC declares" in call("fit", "--help")[1]
    assert call("plugins", "check", "talk") == (2, "talk: 1 to mend\n", f"{clash}\n")


def test_a_command_of_two_plugins_names_both(install: Any) -> None:
    install("early", python_plugin())
    install("talk", python_plugin())
    clash = "command 'say' is registered by both tabcf-early 1.0.0 and tabcf-talk 1.0.0"
    assert call("plugins", "list")[2] == f"{clash}; remove one of them\n"
    assert call("say", "hi")[:2] == (0, "the word is hi\n")


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("1 / 0", "command say: cannot be built: ZeroDivisionError: division by zero\n"),
        ("'text'", "command say: expected a click.Command, got 'text'\n"),
    ],
)
def test_a_command_that_cannot_be_built(build: str, expected: str, install: Any) -> None:
    install("talk", python_plugin(build=build))
    assert call("say", "hi") == (2, "", expected)
    assert "say" in call("--help")[1]


def test_an_unknown_command_beside_a_broken_plugin(three: Any) -> None:
    code, printed, said = call("sing")
    assert (code, printed) == (2, "")
    assert "No such command 'sing'" in said
