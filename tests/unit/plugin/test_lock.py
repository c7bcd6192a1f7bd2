"""What a saved run needs of plugins, and what loading says where it is not there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.errors import RunError
from tabcf.testing import tiny_ratings

YAML = """\
tabcf_plugin: 1
name: night
version: {version}
columns:
  daypart: {{hour_bins: {{from: timestamp, edges: [6, {edge}]}}}}
  two: {{cross: [daypart, weekday]}}
  weekday: {{date_part: {{from: timestamp, part: weekday}}}}
  place: {{mapping: {{from: item_id, table: places.csv, value: place}}}}
losses:
  mild: {{huber: {{delta: 0.5}}}}
  both: {{sum: {{mild: 0.5, mae: 0.5}}}}
entities:
  product: {{id: item_id, columns: {{}}}}
"""
PYTHON = '''\
"""A plugin."""

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import NoOptions
from tabcf.losses import MSE
from tabcf.plugin.hooks import hookimpl


@hookimpl
def tabcf_losses():
    return [
        LossDefinition(
            name="squared",
            options=NoOptions,
            summary="Squared.",
            targets=frozenset({"regression", "rating"}),
            build=lambda target, options: MSE(target),
        )
    ]
'''


def spec_with(**more: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "train": {"epochs": 1},
        **more,
    }


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a distribution on the path, in place of the one that was there."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("TABCF_PLUGINS", "night")

    def install(version: str | None, text: str = YAML, *, edge: int = 18) -> None:
        shutil.rmtree(site)
        site.mkdir()
        sys.modules.pop("tabcf_night", None)
        invalidate_caches()
        if version is None:
            return
        package = site / "tabcf_night"
        package.mkdir()
        is_yaml = text.startswith("tabcf_plugin")
        if is_yaml:
            (package / "plugin.yaml").write_text(text.format(version=f"'{version}'", edge=edge))
            (package / "places.csv").write_text("item_id,place\n1,here\n2,there\n")
        else:
            (package / "__init__.py").write_text(text)
        info = site / f"tabcf_night-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tabcf-night\nVersion: {version}\n"
        )
        target = "tabcf_night:plugin.yaml" if is_yaml else "tabcf_night"
        (info / "entry_points.txt").write_text(f"[tabcf]\nnight = {target}\n")

    return install


def lock_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "environment.json").read_text())["plugins"]
    return found


def refused(folder: Path, **more: Any) -> str:
    with pytest.raises(RunError) as caught:
        tabcf.load(folder, **more)
    return str(caught.value)


USED = {"columns": {"two": "night/two", "place": "night/place"}, "loss": "night/both"}
NEEDS = (
    "the column daypart and the column place and the column two and the column weekday and the "
    "loss both and the loss mild of the plugin tabcf-night 1.2"
)
FRESH = "  fresh: {{prefix: {{from: timestamp, length: 9}}}}\nlosses:"
INSTALL = "pip install 'tabcf-night==1.2'"


def test_a_run_records_what_it_needs_of_an_installed_plugin(install: Any, tmp_path: Path) -> None:
    install("1.2")
    tabcf.fit(spec_with(**USED), tiny_ratings(), tmp_path / "run")
    lock = lock_of(tmp_path / "run")
    assert lock.keys() == {"night"}
    assert len(lock["night"].pop("sha256")) == 64
    assert lock["night"] == {
        "origin": "installed",
        "distribution": "tabcf-night",
        "version": "1.2",
        "install": INSTALL,
        "needs": [
            "column daypart",
            "column place",
            "column two",
            "column weekday",
            "loss both",
            "loss mild",
        ],
    }
    assert not (tmp_path / "run" / "plugins").exists()
    assert str(tmp_path) not in json.dumps(lock)


def test_a_run_loads_with_the_plugin_and_predicts_the_same(install: Any, tmp_path: Path) -> None:
    install("1.2")
    ratings = tiny_ratings()
    run = tabcf.fit(spec_with(**USED), ratings, tmp_path / "run")
    (tmp_path / "site" / "tabcf_night" / "places.csv").unlink()  # the run knows what it says
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))
    loaded.save(tmp_path / "again")
    assert lock_of(tmp_path / "again") == lock_of(tmp_path / "run")


def test_a_missing_plugin_is_said_with_how_to_get_it(install: Any, tmp_path: Path) -> None:
    install("1.2")
    folder = tmp_path / "run"
    tabcf.fit(spec_with(**USED), tiny_ratings(), folder)
    expected = f"{folder}: needs {NEEDS}; {INSTALL}"
    assert refused(folder, plugins=["no:night"]) == expected
    install(None)
    assert refused(folder) == expected
    assert refused(folder, allow_changed_plugins=True) == expected


def test_another_version_is_refused_unless_it_is_allowed(install: Any, tmp_path: Path) -> None:
    install("1.2")
    folder, ratings = tmp_path / "run", tiny_ratings()
    run = tabcf.fit(spec_with(**USED), ratings, folder)
    install("1.3")
    assert refused(folder) == (
        f"{folder}: was fitted with tabcf-night 1.2, and tabcf-night 1.3 is here; {INSTALL}, or "
        "load it all the same with allow_changed_plugins=True (--allow-changed-plugins)"
    )
    loaded = tabcf.load(folder, allow_changed_plugins=True)
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))


def test_other_content_under_the_same_version_is_refused(install: Any, tmp_path: Path) -> None:
    install("1.2")
    folder = tmp_path / "run"
    tabcf.fit(spec_with(**USED), tiny_ratings(), folder)
    install("1.2", edge=20)
    assert refused(folder) == (
        f"{folder}: was fitted with tabcf-night 1.2, and its content has changed; {INSTALL}, or "
        "load it all the same with allow_changed_plugins=True (--allow-changed-plugins)"
    )
    assert tabcf.load(folder, allow_changed_plugins=True).spec.loss.name == "night/both"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"  mild:": "  milder:", "mild: 0.5": "milder: 0.5"},
            f"needs {NEEDS}, and tabcf-night 1.3 has no loss mild; {INSTALL}",
        ),
        (
            {"[daypart, weekday]": "[daypart, weekday, fresh]", "losses:": FRESH},
            "its plugins have changed too far; it has no column 'night/fresh'",
        ),
        (
            {"[daypart, weekday]": "[user, user]"},
            "its plugins have changed too far; it has no column 'two' of user",
        ),
        ({"from: timestamp, edges": "from: item_id, edges"}, None),
    ],
)
def test_a_plugin_that_has_changed_too_far(
    changes: dict[str, str], said: str | None, install: Any, tmp_path: Path
) -> None:
    install("1.2")
    folder = tmp_path / "run"
    tabcf.fit(spec_with(**USED), tiny_ratings(), folder)
    text = YAML
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    install("1.3", text)
    if said is None:
        assert tabcf.load(folder, allow_changed_plugins=True).spec.loss.name == "night/both"
    else:
        assert refused(folder, allow_changed_plugins=True) == f"{folder}: {said}"


def test_a_broken_plugin_is_said_to_be_so(install: Any, tmp_path: Path) -> None:
    install("1.2", PYTHON)
    folder = tmp_path / "run"
    tabcf.fit(spec_with(loss="night/squared"), tiny_ratings(), folder)
    install("1.2", "raise RuntimeError('bad day')\n")
    assert refused(folder) == (
        f"{folder}: needs the loss squared of the plugin tabcf-night 1.2, and the one that is "
        "installed is broken: plugin tabcf-night 1.2 cannot be imported: RuntimeError: bad day"
    )


def test_a_python_plugin_is_compared_by_its_files(install: Any, tmp_path: Path) -> None:
    install("1.2", PYTHON)
    folder = tmp_path / "run"
    tabcf.fit(spec_with(loss="squared"), tiny_ratings(), folder)
    assert tabcf.load(folder).trained.loss.d_out == 1
    (tmp_path / "site" / "tabcf_night" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "site" / "tabcf_night" / "__pycache__" / "x.pyc").write_text("no content")
    tabcf.load(folder)
    (tmp_path / "site" / "tabcf_night" / "more.py").write_text("")
    assert "and its content has changed" in refused(folder)


def test_a_plugin_that_is_only_listed_is_not_needed(install: Any, tmp_path: Path) -> None:
    install("1.2")
    tabcf.fit(spec_with(plugins=["night"]), tiny_ratings(), tmp_path / "run")
    assert lock_of(tmp_path / "run") == {}
    install(None)
    assert tabcf.load(tmp_path / "run").spec.plugins == ("night",)


def test_a_file_is_copied_into_the_run(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "night.yaml").write_text(YAML.format(version="'1.2'", edge=18))
    (shelf / "places.csv").write_text("item_id,place\n1,here\n2,there\n")
    ratings = tiny_ratings()
    spec = spec_with(plugins=[str(shelf / "night.yaml")], **USED)
    run = tabcf.fit(spec, ratings, tmp_path / "run", plugins=["no:*"])
    copied = tmp_path / "run" / "plugins" / "night.yaml"
    assert copied.read_bytes() == (shelf / "night.yaml").read_bytes()
    shutil.rmtree(shelf)
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))
    loaded.save(tmp_path / "again")
    (tmp_path / "run").rename(tmp_path / "gone")
    tabcf.load(tmp_path / "again")
    # The copy is part of the run: no one changes it unseen.
    again = tmp_path / "again" / "plugins" / "night.yaml"
    again.write_text(again.read_text().replace("0.5", "0.6"))
    assert refused(tmp_path / "again") == (
        f"{tmp_path / 'again'}: the file plugins/night.yaml was changed after the run was saved"
    )


def test_a_runs_own_file_beside_an_installed_plugin_of_its_name(
    install: Any, tmp_path: Path
) -> None:
    (tmp_path / "night.yaml").write_text(YAML.format(version="'1.2'", edge=18))
    spec = spec_with(plugins=[str(tmp_path / "night.yaml")], loss="night/mild")
    tabcf.fit(spec, tiny_ratings(), tmp_path / "run", plugins=["no:*"])
    install("9")
    loaded = tabcf.load(tmp_path / "run")
    assert loaded.registry.plugins["night"].version == "1.2"


def test_an_entitys_columns_need_the_plugin(install: Any, tmp_path: Path) -> None:
    text = YAML.replace("columns: {{}}", "table: i.csv, columns: {{size: number}}")
    install("1.2", text)
    items = pd.DataFrame({"item_id": range(20), "size": range(20)})
    items.to_csv(tmp_path / "site" / "tabcf_night" / "i.csv", index=False)
    spec = spec_with(entities={"user": {"id": "user_id"}, "item": "night/product"})
    ratings = tiny_ratings()
    run = tabcf.fit(spec, ratings, tmp_path / "run")
    assert lock_of(tmp_path / "run")["night"]["needs"] == ["column product.size"]
    (tmp_path / "site" / "tabcf_night" / "i.csv").unlink()
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))
    install(None)
    assert "needs the column product.size of the plugin tabcf-night 1.2" in refused(
        tmp_path / "run"
    )


def test_a_column_with_a_slash_in_its_name_needs_no_plugin(tmp_path: Path) -> None:
    ratings = tiny_ratings().assign(**{"km/h": lambda frame: frame["timestamp"] % 7})
    run = tabcf.fit(spec_with(columns={"km/h": "number"}), ratings, tmp_path / "run")
    assert lock_of(tmp_path / "run") == {}
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))


def test_a_hidden_column_of_an_entity_is_saved_and_needed(install: Any, tmp_path: Path) -> None:
    text = YAML.replace(
        "losses:", "  age: number\n  old: {{bins: {{from: age, edges: [3]}}}}\nlosses:"
    )
    install("1.2", text)
    pd.DataFrame({"user_id": range(30), "age": range(30)}).to_csv(tmp_path / "u.csv", index=False)
    user = {"id": "user_id", "table": str(tmp_path / "u.csv"), "columns": {"o": "night/old"}}
    spec = spec_with(entities={"user": user, "item": {"id": "item_id"}})
    ratings = tiny_ratings()
    run = tabcf.fit(spec, ratings, tmp_path / "run")
    assert lock_of(tmp_path / "run")["night"]["needs"] == ["column age", "column old"]
    assert [plan.key for plan in run.plans] == ["user.o", "user.night/age"]
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(ratings), run.predict(ratings))
