"""YAML plugins: what is cut from a spec and pasted into one means the same there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tabcf
from tabcf.errors import PluginError, SpecError
from tabcf.run.plugins import plugin_problems
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.testing import tiny_ratings

COLUMNS = """\
  daypart: {hour_bins: {from: timestamp, edges: [6, 12, 18]}}
  age_band: {bins: {from: user.age, quantiles: 3}}
  cohort: {cross: {from: [age_band, user.gender]}}
  popular: {count: item}
  since: {recency: {of: user, at: timestamp}}
  had: {history: user}
  timestamp: number
"""
LOSSES = """\
  blend: {sum: {mse: 0.8, tolerant: 0.2}}
  tolerant: {huber: {delta: 0.5}}
"""
NAMES = ("daypart", "age_band", "cohort", "popular", "since", "had", "timestamp")
HEAD = """\
tabcf: 1
target: rating
entities:
  user: {id: user_id, table: users.csv}
  item: {id: item_id}
model: {embedding_nn: {layers: [8]}}
train: {epochs: 1, batch_size: 128}
"""
PLUGIN = "tabcf_plugin: 1\nname: nightlife\nversion: 1.0.0\n"


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return tiny_ratings()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write files into the working folder, where the users' table is already."""
    monkeypatch.chdir(tmp_path)
    users = pd.DataFrame({"user_id": range(30), "age": np.arange(30) * 2 + 15})
    users["gender"] = ["f", "m", "m"] * 10
    users.to_csv("users.csv", index=False)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            path = Path(f"{name.replace('__', '/')}.yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def fit(spec: Any, ratings: pd.DataFrame, *overrides: str, **more: Any) -> tabcf.Run:
    return tabcf.fit(spec, ratings, overrides=overrides, **more)


def assert_same(first: tabcf.Run, second: tabcf.Run) -> None:
    """Both have the same columns and, bit by bit, the same weights."""
    assert first.trained.encoder.layout == second.trained.encoder.layout
    weights, others = first.trained.model.state_dict(), second.trained.model.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, name: str = "nightlife"
) -> Path:
    """A distribution on the path that has a YAML plugin; gives its file."""
    package = folder / f"tabcf_{name}"
    package.mkdir(parents=True)
    (package / "plugin.yaml").write_text(text)
    info = folder / f"tabcf_{name}-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tabcf-{name}\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text(f"[tabcf]\n{name} = tabcf_{name}:plugin.yaml\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("TABCF_PLUGINS", name)
    return package / "plugin.yaml"


def problems(spec: Any, **more: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(spec, compose_registry(), **more)
    return list(caught.value.problems)


# The same meaning as inline


@pytest.mark.parametrize("prefix", ["nightlife/", ""], ids=["full names", "bare names"])
def test_a_block_moved_into_a_plugin_gives_the_same_weights(
    prefix: str, write: Any, ratings: pd.DataFrame
) -> None:
    used = ", ".join(f"{name}: {prefix}{name}" for name in NAMES)
    huber = "{huber: {delta: 0.5}}"
    write(
        inline=f"{HEAD}columns:\n{COLUMNS}loss: {huber}\n",
        moved=f"{HEAD}plugins: [./nightlife.yaml]\ncolumns: {{{used}}}\nloss: {prefix}tolerant\n",
        nightlife=f"{PLUGIN}columns:\n{COLUMNS}losses:\n{LOSSES}",
    )
    inline = fit("inline.yaml", ratings)
    assert_same(inline, fit("moved.yaml", ratings))
    assert [c.name for c in inline.trained.encoder.layout.sets] == ["had"]


def test_a_sum_of_a_plugins_own_losses(write: Any, ratings: pd.DataFrame) -> None:
    write(
        inline=f"{HEAD}loss: {{sum: {{mse: 0.8, mae: 0.2}}}}\n",
        moved=f"{HEAD}plugins: [./nightlife.yaml]\nloss: nightlife/blend\n",
        nested=f"{HEAD}plugins: [./nightlife.yaml]\nloss: whole\n",
        nightlife=f"{PLUGIN}losses: {{blend: {{sum: {{own: 0.8, mae: 0.2}}}}, own: mse, "
        "whole: {sum: {blend: 1}}}\n",
    )
    assert_same(fit("inline.yaml", ratings), fit("nested.yaml", ratings))
    assert_same(fit("inline.yaml", ratings), fit("moved.yaml", ratings))


def test_a_loss_of_classes_reads_the_target_as_it_does_inline(
    write: Any, ratings: pd.DataFrame
) -> None:
    liked = ratings.assign(rating=(ratings["rating"] == 5).astype(int))
    write(
        inline=f"{HEAD}loss: bce\n",
        moved=f"{HEAD}plugins: [./nightlife.yaml]\nloss: nightlife/liked\n",
        summed=f"{HEAD}loss: {{sum: {{bce: 1}}}}\n",
        nightlife=f"{PLUGIN}losses: {{liked: bce}}\n",
    )
    inline = fit("inline.yaml", liked)
    assert inline.trained.target.kind == "binary"
    assert_same(inline, fit("moved.yaml", liked))
    assert fit("summed.yaml", liked).trained.target.kind == "binary"


def test_a_part_reads_the_column_of_its_own_name_under_any_other(
    write: Any, ratings: pd.DataFrame
) -> None:
    write(
        inline=f"{HEAD}columns: {{when: {{number: {{from: timestamp}}}}}}\n",
        moved=f"{HEAD}plugins: [./nightlife.yaml]\ncolumns: {{when: nightlife/timestamp}}\n",
        nightlife=f"{PLUGIN}columns: {{timestamp: number}}\n",
    )
    assert_same(fit("inline.yaml", ratings), fit("moved.yaml", ratings))


def test_a_hidden_column_is_made_and_is_no_input(write: Any, ratings: pd.DataFrame) -> None:
    write(
        moved=f"{HEAD}plugins: [./nightlife.yaml]\ncolumns: {{cohort: nightlife/cohort}}\n",
        nightlife=f"{PLUGIN}columns:\n{COLUMNS}",
    )
    run = fit("moved.yaml", ratings)
    names = [column.name for column in run.trained.encoder.layout.categorical]
    assert names == ["user", "cohort", "item"]
    assert [plan.key for plan in run.plans] == ["cohort", "nightlife/age_band"]


def test_a_declared_part_serves_the_others_too(write: Any, ratings: pd.DataFrame) -> None:
    write(
        moved=f"{HEAD}plugins: [./nightlife.yaml]\n"
        "columns: {cohort: nightlife/cohort, age: nightlife/age_band}\n",
        nightlife=f"{PLUGIN}columns:\n{COLUMNS}",
    )
    run = fit("moved.yaml", ratings)
    assert [plan.key for plan in run.plans] == ["cohort", "age"]
    assert run.plans[0].reads == {"age_band": "age"}


@pytest.mark.parametrize("how", ["listed", "installed"])
def test_a_plugin_that_is_not_used_changes_no_model(
    how: str, write: Any, ratings: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{PLUGIN}columns:\n{COLUMNS}losses:\n{LOSSES}"
    write(plain=HEAD, listing=f"{HEAD}plugins: [./nightlife.yaml]\n", nightlife=text)
    plain = fit("plain.yaml", ratings)
    if how == "installed":
        install(tmp_path / "site", monkeypatch, text)
    second = "plain" if how == "installed" else "listing"
    run = fit(f"{second}.yaml", ratings, out=tmp_path / "run")
    assert_same(plain, run)
    assert set(run.registry.plugins) == {"nightlife"}
    assert '"plugins": {}' in (tmp_path / "run" / "environment.json").read_text()


# Names


def test_a_bare_name_of_two_plugins_is_refused_with_both(write: Any) -> None:
    for name, kind in (("dawn", "prefix"), ("dusk", "hash")):
        option = "length: 1" if kind == "prefix" else "buckets: 9"
        column = f"{{part: {{{kind}: {{from: timestamp, {option}}}}}}}"
        write(**{name: f"tabcf_plugin: 1\nname: {name}\nversion: '2'\ncolumns: {column}\n"})
    write(
        bare=f"{HEAD}plugins: [./dawn.yaml, ./dusk.yaml]\ncolumns: {{p: part}}\n",
        full=f"{HEAD}plugins: [./dawn.yaml, ./dusk.yaml]\ncolumns: {{p: dusk/part}}\n",
    )
    assert problems("bare.yaml") == [
        "bare.yaml:9:14: columns.p: kind of column 'part' is of several plugins, dawn 2 and "
        "dusk 2; write dawn/part or dusk/part"
    ]
    document = read_spec("full.yaml", compose_registry())
    assert document.registry.part("column", "dusk/part").name == "hash"


def test_an_entity_of_two_plugins_is_refused_with_both(write: Any) -> None:
    for name in ("dawn", "dusk"):
        write(**{name: f"tabcf_plugin: 1\nname: {name}\nentities: {{shop: {{id: shop_id}}}}\n"})
    spec = HEAD.replace("item: {id: item_id}", "item: {id: item_id}\n  shop: shop")
    write(spec=f"{spec}plugins: [./dawn.yaml, ./dusk.yaml]\n")
    assert problems("spec.yaml") == [
        "spec.yaml:6:9: entities.shop: entity 'shop' is of several plugins; write dawn/shop or "
        "dusk/shop"
    ]


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("columns: {bins: {hash: {from: a, buckets: 9}}}", "column 'bins'"),
        ("losses: {mse: mae}", "loss 'mse'"),
    ],
)
def test_a_name_of_a_builtin_is_refused(plugin: str, expected: str, write: Any) -> None:
    write(spec=f"{HEAD}plugins: [./nightlife.yaml]\n", nightlife=f"{PLUGIN}{plugin}\n")
    assert problems("spec.yaml") == [
        f"{expected} is registered by both tabcf and nightlife 1.0.0; remove one of them"
    ]


def test_one_plugin_twice_is_refused(write: Any) -> None:
    write(spec=f"{HEAD}plugins: [./a.yaml, ./b.yaml]\n", a=PLUGIN, b=PLUGIN)
    assert problems("spec.yaml") == [
        "plugin 'nightlife' is both the file a.yaml and the file b.yaml; rename one"
    ]


# What the file may not be


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", ["n.yaml: expected a plugin, which starts with tabcf_plugin: 1, got [1]"]),
        (
            "tabcf: 1",
            ["n.yaml: expected a plugin, which starts with tabcf_plugin: 1, got a mapping"],
        ),
        (
            "tabcf_plugin: 2\nname: n",
            ["n.yaml:1:15: tabcf_plugin: expected 1, got 2"],
        ),
        ("tabcf_plugin: 1", ["n.yaml:1:1: name: is required"]),
        (
            "tabcf_plugin: 1\nname: Night Life",
            ["n.yaml:2:7: name: expected lower-case letters, digits, - and _, got 'Night Life'"],
        ),
        (
            "tabcf_plugin: 1\nname: n\nversion: 1.10",
            [
                "n.yaml:3:10: version: expected text, got the number 1.1; quote it, as in '1.1'",
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\nversion: true",
            ["n.yaml:3:10: version: expected text, got true"],
        ),
        (
            "tabcf_plugin: 1\nname: n\nlosses: {a: mse}\nlosses: {b: mse}",
            ["n.yaml:4:1: losses: given twice, first on line 3"],
        ),
        (
            "tabcf_plugin: 1\nname: n\nlosses: {a: mse, a: mae}",
            ["n.yaml:3:18: losses.a: given twice, first on line 3"],
        ),
        (
            "tabcf_plugin: 1\nname: n\ncolums: {}",
            [
                "n.yaml:3:1: unknown key 'colums'; did you mean 'columns'? known: tabcf_plugin, "
                "name, version, requires, summary, columns, entities, losses"
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\nmetrics: [rmse]",
            [
                "n.yaml:3:1: unknown key 'metrics'; known: tabcf_plugin, "
                "name, version, requires, summary, columns, entities, losses"
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\ncolumns: {a/b: number}",
            ["n.yaml:3:10: columns: expected a name without / and ., got 'a/b'"],
        ),
        (
            "tabcf_plugin: 1\nname: n\nentities: {e: {id: x, colums: {}}}",
            [
                "n.yaml:3:23: entities.e: unknown key 'colums'; did you mean 'columns'? known: "
                "id, table, label, columns"
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\ncolumns: {a: {bins: {from: x, edges: [3, 2]}}, b: zz}\n"
            "losses: {c: {huber: {delta: -1}}}",
            [
                "n.yaml:3:38: columns.a.edges: expected rising numbers, got [3.0, 2.0]",
                "n.yaml:3:51: columns.b: no kind of column named 'zz'; known: ",
                "n.yaml:4:29: losses.c.delta: expected a positive number, got -1",
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\ncolumns: {a: b, b: c, c: b}",
            [
                "n.yaml:3:14: columns.a: stands for itself: n/b -> n/c -> n/b",
                "n.yaml:3:20: columns.b: stands for itself: n/c -> n/b -> n/c",
                "n.yaml:3:26: columns.c: stands for itself: n/b -> n/c -> n/b",
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\nlosses: {a: {sum: {b: 1}}, b: {sum: {a: 1}}}",
            [
                "n.yaml:3:19: losses.a: stands for itself: n/b -> n/a -> n/b",
                "n.yaml:3:37: losses.b: stands for itself: n/a -> n/b -> n/a",
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\nlosses: {a: {sum: {mse: 1, bce: 1}}}",
            [
                "n.yaml:3:19: losses.a: these losses take no target in common (mse: rating, "
                "regression; bce: binary)"
            ],
        ),
        (
            "tabcf_plugin: 1\nname: n\nlosses: {a: mse, b: {a: {delta: 1}}}",
            ["n.yaml:3:26: losses.b: n/a takes no options, the plugin has set them; got a mapping"],
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, expected: list[str], write: Any) -> None:
    """A message that ends in a space or colon is the start of one."""
    write(n=f"{text}\n", spec=f"{HEAD}plugins: [./n.yaml]\n")
    found = problems("spec.yaml")
    assert found == plugin_problems("n.yaml")
    assert len(found) == len(expected)
    for message, start in zip(found, expected, strict=True):
        assert message.startswith(start) if start.endswith(": ") else message == start


def test_another_version_of_tabcf_is_asked_for(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{PLUGIN}requires: tabcf>=99\n"
    needs = (
        f"requires: needs tabcf>=99, and this is tabcf {tabcf.__version__}; pip install 'tabcf>=99'"
    )
    write(spec=f"{HEAD}plugins: [./nightlife.yaml]\n", nightlife=text, plain=HEAD)
    assert problems("spec.yaml") == [f"nightlife.yaml: {needs}"]
    path = install(tmp_path / "site", monkeypatch, text)
    registry = compose_registry()
    assert registry.broken == {"nightlife": f"plugin tabcf-nightlife 1.0.0: {path}: {needs}"}
    assert read_spec("plain.yaml", registry).spec.plugins == ()


@pytest.mark.parametrize(
    "requires", ["tabcf>=0.1", "tabcf", "tabcf >= 0.1.0, < 99", "tabcf!=7", "tabcf>0.0.9"]
)
def test_this_version_of_tabcf_will_do(requires: str, write: Any) -> None:
    write(spec=f"{HEAD}plugins: [./n.yaml]\n", n=f"{PLUGIN}requires: '{requires}'\n")
    assert read_spec("spec.yaml", compose_registry()).spec.plugins == ("./n.yaml",)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.sampled_from([">=", "<", "=="]))
def test_versions_are_compared_as_packaging_does(release: list[int], operator: str) -> None:
    from packaging.requirements import Requirement

    requirement = f"tabcf{operator}{'.'.join(map(str, release))}"
    allowed = Requirement(requirement).specifier.contains(tabcf.__version__)
    with TemporaryDirectory() as folder:
        path = Path(folder, "n.yaml")
        path.write_text(f"{PLUGIN}requires: {requirement}\n")
        assert (plugin_problems(path) == []) == allowed


@pytest.mark.parametrize("requires", ["torch>=2", "tabcf>", "0.1", "tabcf>=a", "tabcf>=0.1;x"])
def test_what_is_required_must_be_a_version_of_tabcf(requires: str, write: Any) -> None:
    write(n=f"{PLUGIN}requires: '{requires}'\n")
    assert plugin_problems("n.yaml") == [
        f"n.yaml: requires: expected such as tabcf>=0.1, got '{requires}'"
    ]


def test_a_broken_part_of_an_installed_plugin_harms_only_who_names_it(
    write: Any, ratings: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = "losses: {bad: {huber: {delta: -1}}, gone: nope, good: mse}\n"
    path = install(tmp_path / "site", monkeypatch, PLUGIN + losses)
    write(
        plain=HEAD,
        bad=f"{HEAD}loss: nightlife/bad\n",
        other=f"{HEAD.replace('target: rating', 'target: {implicit: {}}')}loss: mse\n",
    )
    assert fit("plain.yaml", ratings).name == "plain"
    assert f"{path}:4:31: losses.bad.delta: expected a positive number, got -1" in problems(
        "bad.yaml"
    )
    # Those that fit are listed for a hint, the broken ones left out.
    (found,) = problems("other.yaml")
    start, _, fitting = found.partition("losses that fit: ")
    assert start == (
        "other.yaml:8:7: loss: mse takes rating and regression targets, and this one is implicit; "
    )
    assert {"softmax", "sum"} <= set(fitting.split(", "))
    assert not {"bad", "gone", "good"} & set(fitting.split(", "))


# References


@pytest.mark.parametrize(
    ("columns", "use", "expected"),
    [
        (
            "a: {cross: [b, timestamp]}, b: {prefix: {from: a, length: 1}}",
            "n/a",
            "is made from itself: c -> n/b -> c",
        ),
        (
            "a: {prefix: {from: n/zz, length: 1}}",
            "n/a",
            "no kind of column named 'n/zz'; known: a, ",
        ),
        (
            "a: {prefix: {from: m/zz, length: 1}}",
            "n/a",
            "no kind of column named 'm/zz'; known: a, ",
        ),
        (
            "a: {hash: {from: had, buckets: 9}}, had: {history: user}",
            "n/a",
            "cannot be made from 'had', a history: of a training row that holds what the row is "
            "to tell",
        ),
    ],
)
def test_references_that_lead_nowhere(columns: str, use: str, expected: str, write: Any) -> None:
    write(
        spec=f"{HEAD}plugins: [./n.yaml, ./m.yaml]\ncolumns: {{c: {use}}}\n",
        n=f"tabcf_plugin: 1\nname: n\ncolumns: {{{columns}}}\n",
        m="tabcf_plugin: 1\nname: m\ncolumns: {weekday: {date_part: {from: timestamp, part: "
        "weekday}}}\n",
    )
    (found,) = problems("spec.yaml")
    assert found.startswith(f"spec.yaml:9:14: columns.c: {expected}")


def test_a_part_may_read_another_plugins(write: Any, ratings: pd.DataFrame) -> None:
    write(
        inline=f"{HEAD}columns: {{c: {{cross: [w, user.gender]}}, "
        "w: {date_part: {from: timestamp, part: weekday}}}\n",
        moved=f"{HEAD}plugins: [./n.yaml, ./m.yaml]\ncolumns: {{c: a, w: weekday}}\n",
        n="tabcf_plugin: 1\nname: n\ncolumns: {a: {cross: [m/weekday, user.gender]}}\n",
        m="tabcf_plugin: 1\nname: m\ncolumns: {weekday: {date_part: {from: timestamp, part: "
        "weekday}}}\n",
    )
    assert_same(fit("inline.yaml", ratings), fit("moved.yaml", ratings))


# Entities


ENTITY = """\
columns: {band: {bins: {from: age, edges: [30]}}}
entities:
  person:
    id: user_id
    table: people.csv
    label: nick
    columns:
      region: {mapping: {from: city, table: regions.csv, value: region}}
      place: {cross: [region, gender]}
      band: band
"""


def _with_tables(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    people = pd.DataFrame({"user_id": range(30), "age": np.arange(30) + 16})
    people["city"], people["gender"] = ["rome", "oslo", "bonn"] * 10, ["f", "m"] * 15
    people["nick"] = [f"n{number}" for number in range(30)]
    people.to_csv(folder / "people.csv", index=False)
    regions = pd.DataFrame({"city": ["rome", "oslo", "bonn"], "region": ["s", "n", "n"]})
    regions.to_csv(folder / "regions.csv", index=False)


@pytest.mark.parametrize("name", ["work/spec.yaml", "ABSOLUTE"])
def test_a_plugins_entity_has_its_tables_beside_the_plugin(
    name: str, write: Any, ratings: pd.DataFrame, tmp_path: Path
) -> None:
    _with_tables(tmp_path / "shelf [1]")
    (tmp_path / "shelf [1]" / "n.yaml").write_text(PLUGIN + ENTITY)
    head = HEAD.replace("{id: user_id, table: users.csv}", "nightlife/person")
    write(work__spec=f'{head}plugins: ["../shelf [1]/n.yaml"]\n')
    _with_tables(tmp_path / "inline")
    body = ENTITY.replace("band: band", "band: {bins: {from: age, edges: [30]}}")
    _, _, entity = body.partition("person:\n")
    head = HEAD.replace("user: {id: user_id, table: users.csv}", f"user:\n{entity.rstrip()}")
    write(inline__spec=head)
    run = fit(name.replace("ABSOLUTE", str(tmp_path / "work/spec.yaml")), ratings)
    assert_same(fit("inline/spec.yaml", ratings), run)
    names = [column.name for column in run.trained.encoder.layout.categorical]
    assert names == ["user", "user.region", "user.place", "user.band", "item"]
    assert run.trained.encoder.entities["user"].labels[1] == "n0"


def test_columns_of_a_plugins_entity_are_no_columns_to_name(write: Any) -> None:
    write(n=PLUGIN + ENTITY, spec=f"{HEAD}plugins: [./n.yaml]\ncolumns: {{x: regio}}\n")
    (found,) = problems("spec.yaml")
    assert "person.region" not in found
    assert "band, bins" in found


def test_an_entity_that_no_plugin_has(write: Any) -> None:
    write(
        n=PLUGIN + ENTITY,
        spec=f"{HEAD.replace('{id: item_id}', 'persn')}plugins: [./n.yaml]\n",
        none=HEAD.replace("{id: item_id}", "persn"),
    )
    assert problems("spec.yaml") == [
        "spec.yaml:5:9: entities.item: no plugin has an entity 'persn'; did you mean "
        "'person'? known: nightlife/person"
    ]
    assert problems("none.yaml") == [
        "none.yaml:5:9: entities.item: expected a mapping with the key id; no plugin has an "
        "entity 'persn'"
    ]


# Overrides


def test_overrides_name_parts_and_plugins(write: Any, ratings: pd.DataFrame) -> None:
    write(
        plain=HEAD,
        spec=f"{HEAD}plugins: [./n.yaml]\ncolumns: {{d: daypart}}\nloss: nightlife/tolerant\n",
        n=f"{PLUGIN}columns:\n{COLUMNS}losses:\n{LOSSES}",
    )
    set_all = ("plugins=[./n.yaml]", "columns.d=nightlife/daypart", "loss=tolerant")
    assert_same(fit("spec.yaml", ratings), fit("plain.yaml", ratings, *set_all))
    changed = read_spec("spec.yaml", compose_registry(), overrides=["loss.huber.delta=2"])
    assert changed.spec.loss.name == "huber"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "loss.nightlife/tolerant.delta=2",
            "--set loss.nightlife/tolerant.delta=2: nightlife/tolerant takes no options, the "
            "plugin has set them; got a mapping",
        ),
        (
            "loss=nightlife/tolrant",
            "--set loss=nightlife/tolrant: no loss named 'nightlife/tolrant'; did you mean "
            "'nightlife/tolerant'? known: ",
        ),
        ("plugins=[./gone.yaml]", "gone.yaml: no such file"),
        (
            "plugins=[dusk]",
            "plugins: no installed plugin named 'dusk'; installed: none; pip install it, or name "
            "a file such as ./dusk.yaml",
        ),
    ],
)
def test_overrides_that_are_wrong(override: str, expected: str, write: Any) -> None:
    write(
        spec=f"{HEAD}plugins: [./n.yaml]\nloss: nightlife/tolerant\n",
        n=f"{PLUGIN}losses:\n{LOSSES}",
    )
    (found,) = problems("spec.yaml", overrides=[override])
    assert found == expected or (expected.endswith(": ") and found.startswith(expected))


# Checking a file


def test_a_file_is_checked_while_it_is_installed(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(tmp_path / "site", monkeypatch, f"{PLUGIN}columns:\n{COLUMNS}")
    assert plugin_problems(path) == []
    assert plugin_problems("nightlife") == []
    assert plugin_problems("tabcf-nightlife") == []
    with pytest.raises(PluginError, match="no installed plugin named 'nightlif'; did you mean"):
        plugin_problems("nightlif")
