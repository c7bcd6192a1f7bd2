"""`tabcf onboard` with what somebody types, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import tabcf
from tabcf.cli import cli
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call
from tests.unit.recommend.test_interview import LIKES, SPEC, fitted, tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with titles and ages, one of likes, one of labels and one of numbers."""
    folder = tmp_path_factory.mktemp("onboard")
    fitted({**SPEC, "entities": tables(folder)}).save(folder / "run")
    fitted({**LIKES, "model": {"ease": 10}}).save(folder / "likes")
    fitted({**SPEC, "target": "liked"} | {"model": "dot_product_bias"}).save(folder / "labels")
    fitted({**SPEC, "target": "rating", "loss": "mse"}).save(folder / "numbers")
    return folder


def onboard(run: Path, *arguments: str, typed: str) -> str:
    """What it prints, with what is asked in it."""
    result = CliRunner().invoke(
        cli, ["onboard", str(run), *arguments], input="".join(f"{key}\n" for key in typed.split())
    )
    if result.exception is not None:
        raise result.exception
    return result.output


def test_an_interview_shows_the_list_after_every_answer(folder: Path) -> None:
    said = onboard(folder / "run", "--questions", "4", "-k", "3", typed="5 ? 1 3")
    assert [f"{number}/4  Film" in said for number in range(1, 6)] == [True] * 4 + [False]
    assert said.count("after 1 answers") == 2
    assert "after 2 answers" in said
    assert "after 3 answers" in said
    assert "1-5, ? don't know, u undo, q save and quit" in said
    assert "(19" in said  # the year
    assert "sorted by them, lists are usually worse" in said


def test_the_last_answer_is_undone(folder: Path) -> None:
    said = onboard(folder / "run", "--questions", "2", typed="u 5 u 1 1")
    assert "there is no answer to take back" in said
    questions = [line for line in said.splitlines() if "/2  Film" in line]
    assert len(questions) == 5
    assert questions[0] == questions[1] == questions[3]
    assert "after 0 answers" in said


def test_what_is_no_answer_is_asked_again(folder: Path) -> None:
    said = onboard(folder / "run", "--questions", "1", typed="2 many 3")
    assert "answer: expected one of 1, 3, 5, or None for don't know; got '2'" in said
    assert "got 'many'" in said
    assert said.count("after 1 answers") == 1


def test_quitting_saves_and_resuming_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--selector", "{tree: {depth: 3}}", "--attributes", "age=30"]
    said = onboard(folder / "run", *arguments, typed="5 ? q")
    assert "saved in interview-1.json; --resume interview-1.json goes on" in said
    saved = json.loads(Path("interview-1.json").read_text())
    assert saved["attributes"] == {"age": "30"}
    assert [entry["answer"] for entry in saved["answers"]] == [5, None]
    said = onboard(folder / "run", "--resume", "interview-1.json", "--questions", "3", typed="1")
    assert "2 questions are answered already" in said
    assert "3/3  Film" in said
    assert "saved in interview-1.json" in said
    assert len(json.loads(Path("interview-1.json").read_text())["answers"]) == 3
    assert "saved in interview-2.json" in onboard(folder / "run", typed="? q")
    assert "nothing is saved" in onboard(folder / "run", typed="q")
    assert not Path("interview-3.json").exists()


def test_the_end_of_what_is_typed_keeps_the_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = onboard(folder / "run", "--selector", "popularity", typed="5 ?")
    assert "saved in interview-1.json; --resume interview-1.json goes on" in said
    saved = json.loads(Path("interview-1.json").read_text())
    assert [entry["answer"] for entry in saved["answers"]] == [5, None]


def test_a_killed_interview_has_its_answers_in_the_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    started = [sys.executable, "-c", "import tabcf.cli; tabcf.cli.main()"]
    command = [*started, "onboard", str(folder / "run"), "--resume", str(path)]
    command += ["--selector", "popularity"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("5\n?\n")
        process.stdin.flush()
        for line in process.stdout:
            if "3/10" in line:
                break
        process.kill()
    answers = json.loads(path.read_text())["answers"]
    assert [entry["answer"] for entry in answers] == [5, None]


def test_a_file_to_resume_may_be_a_new_one(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    onboard(folder / "run", "--resume", str(path), "--questions", "1", typed="5")
    assert len(json.loads(path.read_text())["answers"]) == 1


@pytest.mark.parametrize(
    ("name", "keys", "typed", "kept"),
    [
        ("likes", "1 like, 2 dislike", "1 2 like ?", ["like", "dislike", "like", None]),
        ("labels", "1 yes, 2 no", "1 2 yes ?", ["yes", "no", "yes", None]),
        ("numbers", "a number", "4.5 1 -2 ?", [4.5, 1, -2, None]),
    ],
)
def test_keys_of_other_targets(
    folder: Path, tmp_path: Path, name: str, keys: str, typed: str, kept: list[Any]
) -> None:
    path = tmp_path / "saved.json"
    said = onboard(folder / name, "--resume", str(path), "--questions", "4", typed=typed)
    assert f"{keys}, ? don't know" in said
    answers = json.loads(path.read_text())["answers"]
    assert [entry["answer"] for entry in answers] == kept


def test_there_may_be_more_questions_than_items(folder: Path) -> None:
    said = onboard(folder / "likes", "--questions", "30", typed="? " * 20)
    assert said.count("/30") == 20
    assert "every item was asked about" in said


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cold")
    frame = tiny_ratings(n_users=40)
    frame.to_csv(folder / "all.csv", index=False)
    tabcf.fit({**SPEC, "split": {"cold": "user"}}, frame, folder / "run", plugins=["no:*"])
    return folder


def test_a_replay_prints_means_and_intervals(cold: Path) -> None:
    replay = ["--replay", str(cold / "all.csv"), "--at", "1,3"]
    names = ["--selector", "popularity", "--selector", "{tree: {depth: 2}}"]
    code, printed, _ = call("onboard", str(cold / "run"), *replay, *names, "--csv")
    assert code == 0
    header, *rows = printed.splitlines()
    assert header == "selector,n_asked,n_users,n_known,rmse,difference,low,high"
    cells = [row.split(",")[:2] for row in rows]
    assert cells == [[name, n] for name in ("popularity", "{tree: {depth: 2}}") for n in "13"]
    code, printed, _ = call("onboard", str(cold / "run"), *replay, *names)
    assert code == 0
    assert "differences to popularity; means over users" in printed


def test_a_replay_is_drawn(cold: Path, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    arguments = ["--replay", str(cold / "all.csv"), "--at", "1,3", "--plot", str(path)]
    code, _, said = call("onboard", str(cold / "run"), *arguments, "--selector", "random")
    assert code == 0
    assert f"drawn in {path}" in said
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--selector", "tree", "--selector", "helf"], "an interview has one"),
        (["--attributes", "30"], "expected COLUMN=VALUE"),
        (["--attributes", "size=30"], "users have no 'size'"),
        (["--selector", "popular"], "did you mean 'popularity'"),
        (["--selector", "{tree: {deep: 2}}"], "selector.tree.deep"),
        (["--selector", "{tree: "], "selector"),
        (["--csv"], "go with --replay"),
        (["--replay", "ALL", "--at", "one"], "expected numbers, such as 1,3,5"),
        (["--replay", "ALL", "--resume", "saved.json"], "do not go with --replay"),
        (["--replay", "nowhere.csv"], "no file 'nowhere.csv'"),
    ],
)
def test_what_does_not_go_is_said(cold: Path, arguments: list[str], expected: str) -> None:
    arguments = [str(cold / "all.csv") if a == "ALL" else a for a in arguments]
    code, _, said = call("onboard", str(cold / "run"), *arguments)
    assert code == 2
    assert expected in said


def test_known_users_alone_cannot_be_replayed(cold: Path, tmp_path: Path) -> None:
    run = tabcf.load(cold / "run", plugins=["no:*"])
    frame = run.trained.events.source.frame
    pd.DataFrame(frame).to_csv(tmp_path / "known.csv", index=False)
    code, _, said = call("onboard", str(cold / "run"), "--replay", str(tmp_path / "known.csv"))
    assert (code, "no user is new to the run" in said) == (2, True)
