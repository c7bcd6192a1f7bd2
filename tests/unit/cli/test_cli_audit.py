"""`tabcf audit`: what it prints, and with which exit status it ends."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

import tabcf
from tests.flow.test_reranking import TABLES, spec_in
from tests.unit.cli.test_cli import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two thirds of the events, and the others beside it."""
    folder = tmp_path_factory.mktemp("audit")
    train, held = TABLES.events.iloc[:1000], TABLES.events.iloc[1000:]
    spec = spec_in(folder, split={"random": {"valid": 0, "test": 0}})
    tabcf.fit(spec, train, folder / "run")
    held.to_csv(folder / "held.csv", index=False)
    return folder


def test_the_summary_and_a_table_are_printed(folder: Path) -> None:
    code, printed, _ = call("audit", str(folder / "run"), "--data", str(folder / "held.csv"))
    assert code == 0
    assert "lists of 10 for 120 users" in printed
    assert "held rows: NDCG@10" in printed
    for group in ("item.kind=anime", "user.city=Oslo"):
        assert group in printed


def test_json_is_whole_and_csv_is_long(folder: Path) -> None:
    run = tabcf.load(folder / "run")
    asked = ("audit", str(folder / "run"), "--group", "item.kind", "-k", "5")
    code, printed, _ = call(*asked, "--json")
    assert code == 0
    found = json.loads(printed)
    expected = run.audit(["item.kind"], k=5)
    assert found["overall"] == expected.overall
    assert [row["group"] for row in found["groups"]] == list(expected.groups["group"])
    _, printed, _ = call(*asked, "--csv")
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(printed)), expected.groups)


def test_groups_are_found_where_that_is_asked_for(folder: Path) -> None:
    _, printed, _ = call("audit", str(folder / "run"), "--group", "user.city", "--find-groups")
    assert "found: anime" in printed
    assert "item.kind" not in printed


def test_gates_decide_on_the_exit_status(folder: Path) -> None:
    run = str(folder / "run")
    lax, strict = "amplification(all) < 99", "amplification(item.kind=anime) > 99"
    code, printed, said = call("audit", run, "--gate", lax, "--gate", "gini < 1")
    assert (code, said) == (0, "")
    code, printed, said = call("audit", run, "--gate", lax, "--gate", strict, "--gate", "gini > 1")
    assert code == 1
    assert "lists of 10" in printed
    first, second = said.splitlines()
    assert first.startswith(f"gate failed: {strict}: amplification of item.kind=anime is ")
    assert second.startswith("gate failed: gini > 1: gini is 0.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gate", "gnii < 1"], "no figure 'gnii'; did you mean 'gini'"),
        (["--gate", "ndcg > 0.1"], "there is no ndcg; the audit has no held rows"),
        (["--group", "item.king"], "no column 'king'; did you mean 'kind'"),
        (["--compare", "mrr"], "no re-ranker named 'mrr'"),
        (["--compare", "mmr", "--gate", "gini < 1"], "--compare goes without --gate"),
        (["--plot", "x.png"], "--plot needs --compare and --data"),
    ],
)
def test_what_is_wrong_ends_with_2(folder: Path, options: list[str], said: str) -> None:
    code, _, error = call("audit", str(folder / "run"), *options)
    assert code == 2
    assert said in error


def test_policies_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "policies.svg"
    code, printed, said = call(
        *("audit", str(folder / "run"), "--group", "item.kind", "--data", str(folder / "held.csv")),
        *("--compare", "calibrated: {strength: 0.8}", "--compare", "[mmr, epsilon_greedy: 0.2]"),
        *("--plot", str(picture), "--csv"),
    )
    assert code == 0
    assert str(picture) in said
    table = pd.read_csv(StringIO(printed)).set_index("policy")
    names = ["model", "calibrated: {strength: 0.8}", "mmr, epsilon_greedy: 0.2"]
    assert list(table.index) == names
    assert {"ndcg", "recall", "amplification", "group", "others", "gini"} <= {*table}
    drawn = picture.read_text(encoding="utf-8")
    assert "largest amplification of a group" in drawn
    run = tabcf.load(folder / "run")
    alone = run.audit(
        ["item.kind"], data=folder / "held.csv", rerank={"calibrated": {"strength": 0.8}}
    )
    own = table.loc["calibrated: {strength: 0.8}"]
    assert own["ndcg"] == pytest.approx(alone.overall["ndcg"])
    assert own["amplification"] == pytest.approx(alone.amplified()["amplification"].max())
    assert own["others"] == pytest.approx(alone.amplified(users="others")["amplification"].max())
    assert own["others"] < table.loc["model", "others"]


def test_without_held_rows_policies_are_compared_by_fairness_alone(folder: Path) -> None:
    run = tabcf.load(folder / "run")
    table = run.compare_policies(["popularity_penalty"], ["item.kind"])
    assert "ndcg" not in table
    assert table["policy"].tolist() == ["model", "popularity_penalty"]
    none = run.compare_policies(["mmr"], ["item.kind"], min_share=1.0)
    assert "amplification" not in none
