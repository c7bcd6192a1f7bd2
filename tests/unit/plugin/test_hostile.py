"""A stranger's YAML plugin: it runs nothing, reads nothing beyond its folder, and ends soon.

CPU time is compared with a second, which each of these takes a small part of; what they guard
against takes minutes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tabcf.errors import DataError, SpecError
from tabcf.run.fit import fit  # before the clock runs: it loads torch
from tabcf.run.plugins import plugin_problems
from tabcf.run.registry import survey_plugins
from tabcf.testing import tiny_ratings

HEAD = "tabcf_plugin: 1\nname: evil\n"
SPEC: dict[str, Any] = {
    "tabcf": 1,
    "plugins": ["plugin.yaml"],
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 4}},
    "train": {"epochs": 1},
}


@contextmanager
def within_a_second() -> Iterator[None]:
    # What other tests have left in this process is not looked through at the file's expense.
    gc.freeze()
    started = time.process_time()
    try:
        yield
    finally:
        gc.unfreeze()
    assert time.process_time() - started < 1


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the plugin into a folder of its own; a secret lies outside."""
    (tmp_path / "secret.csv").write_text("user_id,item_id,word\n1,1,swordfish\n2,2,tuna\n")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)

    def write(text: str) -> Path:
        path = Path("plugin.yaml")
        path.write_text(text)
        return path

    return write


def refused(path: Path) -> str:
    """The one message, which a spec, a check and an installed plugin's survey all give."""
    with within_a_second():
        (found,) = plugin_problems(path)
    with within_a_second(), pytest.raises(SpecError) as caught:
        fit(SPEC, tiny_ratings(), plugins=["no:*"])
    assert list(caught.value.problems) == [found]
    return found


# The text


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object:os.system [touch pwned]", "!!python/object:os.system"),
        ("!!python/object/apply:os.system [touch pwned]", "!!python/object/apply:os.system"),
        ("!!python/name:os.system", "!!python/name:os.system"),
        ("!!python/module:this", "!!python/module:this"),
        ("!tabcf.errors.SpecError {problems: []}", "!tabcf.errors.SpecError"),
        ("!!binary cHduZWQ=", "!!binary"),
    ],
)
@pytest.mark.parametrize("place", ["summary: {}", "columns:\n  a: {}", "losses: {}"])
def test_a_tag_builds_no_object(value: str, tag: str, place: str, write: Any) -> None:
    found = refused(write(f"{HEAD}{place.format(value)}\n"))
    assert found.startswith(("plugin.yaml:3:", "plugin.yaml:4:"))
    assert tag in found
    assert not Path("pwned").exists()


def test_dotted_import_paths_name_nothing(write: Any) -> None:
    write(f"{HEAD}losses: {{a: os.system, b: {{sum: {{builtins.eval: 1}}}}}}\n")
    with within_a_second():
        found = plugin_problems("plugin.yaml")
    assert found[0].startswith("plugin.yaml:3:13: losses.a: no loss named 'os.system'; known: ")
    assert "no loss named 'builtins.eval'" in found[1]


def test_a_billion_laughs_are_refused(write: Any) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    found = refused(write(f"{HEAD}summary: x\n" + "\n".join(lines) + "\n"))
    assert found == "plugin.yaml:8:25: expected at most 50,000 values, what aliases repeat included"


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_fifty_megabytes_of_nesting_are_refused_unread(opening: str, write: Any) -> None:
    path = write(HEAD + "columns: " + opening * (50_000_000 // len(opening)))
    assert refused(path) == "plugin.yaml: expected at most 1,000,000 bytes; is it a spec?"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_megabyte_of_nesting_is_refused(opening: str, write: Any) -> None:
    path = write(HEAD + "columns:\n  " + opening * (900_000 // len(opening)))
    found = refused(path)
    assert "expected at most 30 levels of nesting" in found


def test_a_wide_file_is_refused_or_read_within_a_second(write: Any) -> None:
    path = write(HEAD + "losses:\n" + "".join(f"  l{n}: mse\n" for n in range(60_000)))
    assert "expected at most 50,000 values" in refused(path)


def test_a_plugin_that_is_no_file(write: Any, tmp_path: Path) -> None:
    Path("plugin.yaml").mkdir()
    assert refused(Path("plugin.yaml")) == "plugin.yaml: cannot be read: Is a directory"


def test_a_hostile_plugin_that_is_installed_is_set_aside_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("deep", "columns: " + "[" * 50_000_000), ("tagged", "summary: !!x/y z")):
        package = tmp_path / f"pkg_{name}"
        package.mkdir()
        (package / "plugin.yaml").write_text(f"tabcf_plugin: 1\nname: {name}\n{text}\n")
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[tabcf]\n{name} = pkg_{name}:plugin.yaml\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TABCF_PLUGINS", "deep,tagged")
    with within_a_second():
        registry, statuses = survey_plugins()
    assert registry.broken.keys() == {"deep", "tagged"}
    assert [status.adds for status in statuses] == [(), ()]


# Paths

OUTSIDE = [
    "/etc/passwd",
    "../secret.csv",
    "below/../../secret.csv",
    "./../secret.csv",
    "..\\secret.csv",
    "C:\\secret.csv",
    "\\\\server\\secret.csv",
    "file:///etc/passwd",
    "http://example.org/x.csv",
]


@pytest.mark.parametrize("path", [*OUTSIDE, "~/secret.csv", "*.csv", "below", "."])
def test_an_entitys_table_lies_in_the_plugins_folder(path: str, write: Any) -> None:
    Path("below").mkdir()
    found = refused(write(f"{HEAD}entities: {{user: {{id: user_id, table: '{path}'}}}}\n"))
    assert found == (
        "plugin.yaml:3:39: entities.user.table: expected a file in the plugin's folder or below "
        f"it, got {path!r}"
    )


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_look_up_file_lies_in_the_plugins_folder(path: str, write: Any) -> None:
    mapping = f"{{mapping: {{from: item_id, table: '{path}', value: word}}}}"
    found = refused(write(f"{HEAD}columns: {{a: {mapping}}}\n"))
    assert found.startswith("plugin.yaml:3:")
    assert found.endswith(
        "columns.a.table: expected a file that lies beside the spec or plugin, or below it, got "
        f"'{path}'"
    )


@pytest.mark.parametrize("how", ["file", "folder", "chain"])
def test_a_link_out_of_the_folder_is_not_followed(how: str, write: Any, tmp_path: Path) -> None:
    if how == "file":
        Path("inner.csv").symlink_to(tmp_path / "secret.csv")
        path = "inner.csv"
    elif how == "folder":
        Path("inner").symlink_to(tmp_path)
        path = "inner/secret.csv"
    else:
        Path("first.csv").symlink_to("second.csv")
        Path("second.csv").symlink_to(Path("..") / "secret.csv")
        path = "first.csv"
    found = refused(write(f"{HEAD}entities: {{user: {{id: user_id, table: {path}}}}}\n"))
    assert found.endswith(f"expected a file in the plugin's folder or below it, got '{path}'")
    write(f"{HEAD}columns: {{a: {{mapping: {{from: item_id, table: {path}, value: word}}}}}}\n")
    with within_a_second(), pytest.raises(DataError) as caught:
        fit({**SPEC, "columns": {"a": "evil/a"}}, tiny_ratings(), plugins=["no:*"])
    assert str(caught.value) == (
        f"{path}: expected a file in the folder of the spec or plugin, or below it"
    )
    assert "swordfish" not in str(caught.value)


def test_a_link_that_is_turned_out_later_is_not_followed(write: Any, tmp_path: Path) -> None:
    """The file is inside when the plugin is read, and outside when it is used."""
    pd.DataFrame({"item_id": [1, 2], "word": ["a", "b"]}).to_csv("good.csv", index=False)
    Path("inner.csv").symlink_to("good.csv")
    write(f"{HEAD}columns: {{a: {{mapping: {{from: item_id, table: inner.csv, value: word}}}}}}\n")
    spec = {**SPEC, "columns": {"a": "evil/a"}}
    assert fit(spec, tiny_ratings(), plugins=["no:*"]).plans[0].key == "a"
    Path("inner.csv").unlink()
    Path("inner.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataError, match="expected a file in the folder of the spec or plugin"):
        fit(spec, tiny_ratings(), plugins=["no:*"])


@pytest.mark.parametrize("kind", ["link", "path"])
def test_files_below_the_folder_are_read(kind: str, write: Any, tmp_path: Path) -> None:
    Path("below").mkdir()
    pd.DataFrame({"user_id": range(30), "size": range(30)}).to_csv("below/u.csv", index=False)
    if kind == "link":
        Path("u.csv").symlink_to("below/u.csv")
    path = "u.csv" if kind == "link" else "below/u.csv"
    columns = "columns: {size: number}"
    write(f"{HEAD}entities: {{person: {{id: user_id, table: {path}, {columns}}}}}\n")
    entities = {**SPEC["entities"], "user": "evil/person"}
    run = fit({**SPEC, "entities": entities}, tiny_ratings(), plugins=["no:*"])
    assert [column.name for column in run.trained.encoder.layout.continuous] == ["user.size"]


# Patterns


def test_a_pattern_that_backtracks_for_ever_does_not(write: Any) -> None:
    ratings = tiny_ratings().assign(text="a" * 5_000 + "b")
    write(f"{HEAD}columns: {{a: {{regex: {{from: text, pattern: '^(a+)+$', group: 0}}}}}}\n")
    with within_a_second():
        fit({**SPEC, "columns": {"a": "evil/a"}}, ratings, plugins=["no:*"])
