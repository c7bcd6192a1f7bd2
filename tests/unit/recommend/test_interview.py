"""Interviews with new users of several kinds of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.contracts.target import TargetInfo
from tabcf.errors import DataError, RunError, SpecError
from tabcf.recommend.onboarding.scale import AnswerScale
from tabcf.testing import tiny_ratings

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"column": "rating", "levels": [1, 3, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"random": {"valid": 0, "test": 0.1}},
    "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
    "train": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03},
}
LIKES = {**SPEC, "target": {"implicit": {"positive": "rating >= 4"}}}
LABELLED = {**SPEC, "target": "liked"}


def tables(folder: Path) -> dict[str, Any]:
    """Entities with tables: users' ages and items' titles, one of them missing."""
    ages = [None if user % 7 == 0 else 20 + user for user in range(30)]
    users = pd.DataFrame({"user_id": range(30), "age": ages})
    users.to_csv(folder / "users.csv", index=False)
    titles = [f"Film {item}" for item in range(20)]
    items = pd.DataFrame({"item_id": range(20), "title": titles, "year": range(1980, 2000)})
    items.to_csv(folder / "items.csv", index=False)
    return {
        "user": {
            "id": "user_id",
            "table": str(folder / "users.csv"),
            "columns": {"age": "number"},
        },
        "item": {"id": "item_id", "table": str(folder / "items.csv"), "label": "title"},
    }


def fitted(spec: dict[str, Any]) -> tabcf.Run:
    frame = tiny_ratings()
    liked = frame["rating"].map({1: "no", 5: "yes"})
    size = np.resize(["small", "medium", "large"], len(frame))
    return tabcf.fit(spec, frame.assign(liked=liked, size=size), plugins=["no:*"])


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    return fitted(SPEC)


@pytest.fixture(scope="module")
def choices() -> tabcf.Run:
    return fitted({**LIKES, "model": {"dot_product": {"factors": 4}}, "loss": "softmax"})


def tell(interview: Any, n: int, parity: int = 0) -> None:
    """Answer n questions as users of a parity do."""
    best, worst = interview.scale.choices[-1], interview.scale.choices[0]
    for _ in range(n):
        item = interview.ask()["item_id"].iloc[0]
        interview.answer(item, best if item % 2 == parity else worst)


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        LIKES | {"model": {"dot_product": {"factors": 4}}, "loss": "softmax"},
        LIKES | {"model": {"dot_product_bias": {"factors": 4}}, "loss": "bpr"},
        LIKES | {"model": {"ease": 10}},
        LABELLED | {"model": {"dot_product_bias": {"factors": 4}}},
    ],
    ids=["rating", "softmax", "bpr", "ease", "binary"],
)
def test_a_few_answers_give_the_list_of_a_taste(spec: dict[str, Any], parity: int) -> None:
    interview = fitted(spec).interview()
    tell(interview, 7, parity)
    listed = interview.recommend(2)
    assert (listed["item_id"] % 2 == parity).all()
    assert not set(listed["item_id"]) & set(interview.ratings["item_id"])
    assert listed.columns.tolist() == ["rank", "item_id", "score", "basis"]


def test_the_list_is_that_of_fold_in(run: tabcf.Run) -> None:
    interview = run.interview("popularity")
    tell(interview, 3)
    interview.answer(interview.ask()["item_id"][0], None)
    folded = run.fold_in(interview.ratings).recommend(k=5)
    pd.testing.assert_frame_equal(interview.recommend(5), folded.drop(columns="user_id"))
    assert set(folded["basis"]) == {"3 events"}


def test_the_list_changes_at_once_and_back(run: tabcf.Run) -> None:
    interview = run.interview()
    before = interview.recommend(5)
    assert set(before["basis"]) == {"cold: average"}
    item = interview.ask()["item_id"][0]
    interview.answer(item, 1)
    assert not before.equals(interview.recommend(5))
    assert interview.undo() == item
    pd.testing.assert_frame_equal(interview.recommend(5), before)
    assert interview.ask()["item_id"].tolist() == [item]


def test_nothing_is_asked_twice(run: tabcf.Run) -> None:
    interview = run.interview("random")
    for number in range(20):
        asked = interview.ask(3)
        assert asked["item_id"].tolist() == interview.ask(3)["item_id"].tolist()
        assert interview.ask()["item_id"][0] == asked["item_id"][0]
        interview.answer(asked["item_id"][0], None if number % 2 else 5)
        assert len(asked) == min(3, 20 - number)
    assert (len(interview), interview.n_known) == (20, 10)
    assert interview.ask().empty
    assert interview.recommend(20)["item_id"].nunique() == 10


def test_draws_of_a_posterior_follow_the_answers_too() -> None:
    """A gibbs run has rows in each draw; its questions are those of a model without rows."""
    spec = {
        **SPEC,
        "model": {"dot_product_bias": {"factors": 2}},
        "fit": {"gibbs": {"sweeps": 40, "burn_in": 20}},
    }
    spec.pop("train", None)
    run = fitted(spec)
    interview = run.interview()
    before = interview.recommend(5)
    tell(interview, 4)
    after = interview.recommend(5)
    assert set(before["basis"]) == {"cold: average"}
    assert set(after["basis"]) == {"4 events"}
    rated = run.fold_in(interview.ratings).recommend(k=5).drop(columns="user_id")
    pd.testing.assert_frame_equal(after, rated)
    with pytest.raises(RunError, match="d_optimal needs rows of new users"):
        run.interview("d_optimal")


def test_what_is_not_known_may_still_be_listed(run: tabcf.Run) -> None:
    interview = run.interview()
    first = interview.recommend(1)["item_id"][0]
    interview.answer(first, None)
    assert first in interview.recommend(20)["item_id"].tolist()
    assert interview.ratings.empty


def test_what_is_disliked_is_not_listed(choices: tabcf.Run) -> None:
    interview = choices.interview()
    first = interview.recommend(1)["item_id"][0]
    interview.answer(first, "dislike")
    assert first not in interview.recommend(20)["item_id"].tolist()
    assert interview.ratings.to_dict("records") == [
        {"item_id": first, "answer": "dislike", "basis": "trained"}
    ]
    # It is no event to learn from.
    assert set(interview.recommend(3)["basis"]) == {"cold: average"}


def test_a_question_shows_what_is_known_of_an_item(tmp_path: Path) -> None:
    run = fitted({**SPEC, "entities": tables(tmp_path)})
    interview = run.interview("popularity", attributes={"age": 41})
    assert interview.ask(2).columns.tolist() == ["item_id", "title", "year"]
    interview.answer("Film 3", 5)
    assert interview.ratings.to_dict("records") == [
        {"item_id": 3, "title": "Film 3", "rating": 5, "basis": "trained"}
    ]
    assert "title" in interview.recommend(2)
    with pytest.raises(DataError, match="users have no 'agee'; did you mean 'age'"):
        run.interview(attributes={"agee": 41})


def test_attributes_change_the_list(tmp_path: Path) -> None:
    spec = {
        **SPEC,
        "entities": tables(tmp_path),
        "model": {"embedding_nn": {"layers": [8], "y_range": [0, 6]}},
    }
    run = fitted(spec)
    young, old = (run.interview(attributes={"age": age}).recommend(20) for age in (20, 50))
    text = run.interview(attributes={"age": "20"}, is_text=True).recommend(20)
    assert set(young["basis"]) == {"cold: attributes"}
    assert not young["score"].equals(old["score"])
    pd.testing.assert_frame_equal(young, text)


@pytest.mark.parametrize("name", ["run", "choices"])
def test_a_saved_interview_goes_on(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    interview = run.interview({"tree": {"depth": 3}})
    tell(interview, 2)
    interview.answer(interview.ask()["item_id"][0], None)
    path = interview.save(tmp_path / "somebody.json")
    resumed = run.interview(resume=path)
    assert len(resumed) == 3
    pd.testing.assert_frame_equal(resumed.ratings, interview.ratings)
    pd.testing.assert_frame_equal(resumed.recommend(5), interview.recommend(5))
    assert resumed.ask()["item_id"][0] == interview.ask()["item_id"][0]
    resumed.undo()
    resumed.save(path)
    assert len(json.loads(path.read_text())["answers"]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["somebody.json"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "expected a saved interview"),
        ("[]", "expected a saved interview"),
        ('{"format": 2}', "expected a saved interview"),
        ("VERSION", "expected format 1, got 2"),
        ("ANSWER", "answer: expected one of 1, 3, 5"),
    ],
)
def test_a_wrong_file_is_told(content: str, expected: str, run: tabcf.Run, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    saved = json.loads(run.interview().save(path).read_text())
    if content == "VERSION":
        content = json.dumps({**saved, "format": 2})
    elif content == "ANSWER":
        content = json.dumps({**saved, "answers": [{"item": 1, "answer": 2}]})
    path.write_text(content)
    with pytest.raises(DataError, match=rf"saved\.json: .*{expected}"):
        run.interview(resume=path)


def test_attributes_of_numpy_are_saved(tmp_path: Path) -> None:
    run = fitted({**SPEC, "entities": tables(tmp_path)})
    path = run.interview(attributes={"age": np.int64(30)}).save(tmp_path / "saved.json")
    assert json.loads(path.read_text())["attributes"] == {"age": 30}
    with pytest.raises(DataError, match="cannot be written"):
        run.interview().save(tmp_path / "nowhere" / "saved.json")
    with pytest.raises(DataError, match="cannot be read"):
        run.interview(resume=tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("item", "answer", "expected"),
    [
        ("Film 99", 5, "expected whole numbers as in training, got text such as 'Film 99'"),
        (1, 4, "answer: expected one of 1, 3, 5, or None for don't know; got 4"),
        (1, float("nan"), "got nan"),
        (1, "many", "got 'many'"),
        (0, 5, "item_id 0 is answered already"),
    ],
)
def test_a_wrong_answer_is_told(item: int, answer: Any, expected: str, run: tabcf.Run) -> None:
    interview = run.interview()
    interview.answer(0, 3)
    with pytest.raises(DataError, match=expected):
        interview.answer(item, answer)
    assert len(interview) == 1


def test_refusals(run: tabcf.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="k: expected a positive number"):
        run.interview().ask(0)
    with pytest.raises(DataError, match="there is no answer to take back"):
        run.interview().undo()
    with pytest.raises(SpecError, match="no selector named 'popular'; did you mean 'popularity'"):
        run.interview("popular")
    with pytest.raises(SpecError, match=r"selector\.tree\.depth: .* of at most 20, got -1"):
        run.interview({"tree": {"depth": -1}})
    ease = fitted({**LIKES, "model": {"ease": 10}})
    with pytest.raises(RunError, match=r"d_optimal needs rows of new users, and .* has none"):
        ease.interview("d_optimal")
    classes = fitted({**SPEC, "target": "size", "model": "tabular"})
    with pytest.raises(RunError, match="need a target that one number answers"):
        classes.interview("popularity")


def test_scales() -> None:
    rating = AnswerScale(TargetInfo("rating", ("stars",), levels=(0.5, 1, 1.5)))
    assert (rating.checked("1.5"), rating.checked(1.0), rating.number(1)) == (1.5, 1, 1.0)
    number = AnswerScale(TargetInfo("regression", ("price",)))
    assert (number.choices, number.checked("2.25"), number.column) == ((), 2.25, "price")
    with pytest.raises(DataError, match="expected a number, or None"):
        number.checked("inf")
    binary = AnswerScale(TargetInfo("binary", ("bought",), labels=("0", "1")))
    assert (binary.checked(1), binary.number("1"), binary.number("0")) == ("1", 1.0, 0.0)
    implicit = AnswerScale(TargetInfo("implicit"))
    assert (implicit.column, implicit.number("like"), implicit.number("dislike")) == (
        "answer",
        1.0,
        0.0,
    )
