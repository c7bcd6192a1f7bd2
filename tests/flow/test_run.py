"""From a spec to a folder and back: what a run answers, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError, RunError
from tabcf.testing import tiny_ratings

SPEC = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"column": "rating", "levels": [1, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "columns": {"weekday": {"date_part": {"from": "timestamp", "part": "weekday"}}},
    "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
    "train": {"epochs": 3, "batch_size": 32, "learning_rate": 0.03, "refit": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    tabcf.fit(SPEC, tiny_ratings(), folder)
    return folder


@pytest.fixture
def run(folder: Path) -> tabcf.Run:
    return tabcf.load(folder)


def test_a_refit_says_what_it_was_fitted_on(run: tabcf.Run) -> None:
    assert run.report.fitted_on == "train + valid"
    assert run.report.n_rows == {"train": 432, "valid": 54, "test": 54}
    assert "fitted on train + valid" in repr(run)
    assert "user + item biases" in run._repr_html_()


def test_a_run_keeps_the_events_that_it_was_fitted_on(run: tabcf.Run) -> None:
    fitted = tabcf.fit(SPEC, tiny_ratings())
    there, back = fitted.trained.events, run.trained.events
    assert len(back.source.frame) == 432 + 54  # train and valid, never test
    columns = ["user_id", "item_id", "rating", "timestamp"]
    pd.testing.assert_frame_equal(back.source.frame, there.source.frame[columns], check_like=True)
    assert (back.is_positive == there.is_positive).all()


def test_no_list_holds_what_a_user_had(run: tabcf.Run) -> None:
    lists = run.recommend(range(30), k=20)
    users, items = run.trained.past.seen.pairs()
    had = set(zip(users - 1, items - 1, strict=True))
    assert not had & set(zip(lists["user_id"], lists["item_id"], strict=True))
    counts = lists.groupby("user_id").size()
    assert (counts == 20 - pd.Series(users - 1).value_counts().sort_index()).all()
    assert run.recommend([3], k=20, exclude_seen=False)["item_id"].nunique() == 20


def test_an_unknown_id_is_answered_from_the_average_and_says_so(run: tabcf.Run) -> None:
    new = pd.DataFrame({"user_id": [999, 1, 999], "item_id": [1, 999, 999], "timestamp": 10**9})
    predicted = run.predict(new)
    assert predicted["basis"].tolist() == [
        "cold user: average",
        "cold item: average",
        "cold user: average; cold item: average",
    ]
    assert predicted["prediction"].between(0, 6).all()
    assert predicted.columns[-1] == "prediction"
    assert set(run.recommend([999], k=3)["basis"]) == {"cold: average"}


def test_the_context_changes_scores_and_unknown_context_is_refused(run: tabcf.Run) -> None:
    plain = run.recommend([1], k=1, candidates=[5], exclude_seen=False)["score"][0]
    times = [
        run.recommend(
            [1],
            k=1,
            candidates=[5],
            exclude_seen=False,
            context={"timestamp": 10**9 + day * 86_400},
        )["score"][0]
        for day in range(7)
    ]
    assert len({plain, *times}) > 2
    with pytest.raises(DataError, match="context: no event column reads 'hour'; known: timestamp"):
        run.recommend([1], context={"hour": 3})


def test_candidates_are_the_only_ones_listed(run: tabcf.Run) -> None:
    assert set(run.recommend([2], k=9, candidates=[3, 4], exclude_seen=False)["item_id"]) == {3, 4}
    lists = run.recommend([2], candidates=[3, 77, 78], exclude_seen=False).set_index("item_id")
    assert set(lists.index) == {3, 77, 78}
    assert lists["basis"][77] == lists["basis"][78] == "trained; cold item: average"


def test_tables_by_id(run: tabcf.Run) -> None:
    biases = run.biases("item")
    assert biases["bias"].is_monotonic_decreasing
    assert biases["count"].sum() == 432 + 54
    vectors = run.embeddings("user")
    assert vectors.index.tolist() == list(range(30))
    assert vectors.shape == (30, 5)
    near = run.similar("user", 4, k=3, metric="euclidean")
    assert near["euclidean"].is_monotonic_increasing
    with pytest.raises(RunError, match="no entity 'shop'; known: user, item"):
        run.biases("shop")
    summary = run.summary()
    assert summary.n_parameters == sum(p.numel() for p in run.trained.model.parameters())


def test_a_run_of_ratings_says_what_its_lists_are_worth(run: tabcf.Run) -> None:
    assert "worse than plain popularity" in run.advice


def test_the_order_of_rows_changes_no_figure(run: tabcf.Run) -> None:
    frame = tiny_ratings()
    turned = run.evaluate(frame[::-1])
    assert turned == pytest.approx(run.evaluate(frame))
    assert turned["rmse"] < 2.5


@pytest.mark.parametrize("name", ["weights.safetensors", "spec.json", "entities/user.parquet"])
def test_a_changed_file_is_refused(name: str, tmp_path: Path) -> None:
    run = tabcf.fit(SPEC, tiny_ratings(), tmp_path / "run")
    path = run.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=f"the file {name} was changed after the run was saved"):
        tabcf.load(run.folder)
    path.unlink()
    with pytest.raises(RunError, match=f"the file {name} is missing"):
        tabcf.load(run.folder)


def test_saving_never_overwrites_and_leaves_no_scratch(folder: Path, run: tabcf.Run) -> None:
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(RunError, match="already exists; runs are never overwritten"):
        run.save(folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
