"""What can be seen inside a run, on planted data and against what is computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.errors import DataError, RunError
from tabcf.inspection import plots
from tabcf.inspection.course import schedule_table, share_kept
from tabcf.inspection.factors import _varimax, latent_factors, vector_norms
from tabcf.nn import DotProductBias
from tabcf.testing import tiny_ratings
from tabcf.training.schedules import constant

BASE: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"random": {"valid": 0.0, "test": 0.1}},
    "train": {"epochs": 40, "batch_size": 64, "learning_rate": 0.03},
}


def _items() -> pd.DataFrame:
    """Items 0 to 19; the even ones are comedies."""
    genres = np.where(np.arange(20) % 2 == 0, "Comedy", "War")
    titles = [f"film {n}" for n in range(20)]
    return pd.DataFrame({"item_id": range(20), "title": titles, "genres": genres})


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("items") / "items.csv"
    _items().to_csv(path, index=False)
    item = {"id": "item_id", "table": str(path), "label": "title"}
    return BASE | {"entities": {"user": {"id": "user_id"}, "item": item}}


@pytest.fixture(scope="module")
def checkerboard(spec: dict[str, Any]) -> tabcf.Run:
    """Users like films of their own parity."""
    model = {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}}
    return tabcf.fit(spec | {"model": model}, tiny_ratings())


@pytest.fixture(scope="module")
def liking(spec: dict[str, Any]) -> tabcf.Run:
    """The same as a ranking, by history."""
    target = {"implicit": {"positive": "rating >= 4"}}
    rest = {key: value for key, value in spec.items() if key != "train"}
    return tabcf.fit(rest | {"target": target, "model": {"ease": 1.0}}, tiny_ratings())


def test_the_first_axis_is_the_genre_that_divides_tastes(checkerboard: tabcf.Run) -> None:
    found = checkerboard.inspection.factors("item", axes=2, k=3)
    first = found.correlations[found.correlations["axis"] == 1].set_index("attribute")["r"]
    assert abs(first["genres = Comedy"]) > 0.95
    assert first["genres = Comedy"] == pytest.approx(-first["genres = War"])
    ends = found.ends[found.ends["axis"] == 1]
    assert ends.groupby("end")["item_id"].agg(lambda ids: len({i % 2 for i in ids})).eq(1).all()
    assert found.share["share"].iloc[0] > 0.5
    assert "axis 1" in str(found)


def test_axes_keep_the_variance_of_all_directions(checkerboard: tabcf.Run) -> None:
    """With as many axes as numbers, a rotation moves variance about and loses none."""
    found = latent_factors(checkerboard.trained, "user", axes=4, min_count=5)
    assert found.share["share"].sum() == pytest.approx(1.0)
    assert found.share["share"].is_monotonic_decreasing


def test_varimax_finds_the_axes_that_data_lie_on() -> None:
    rng = np.random.default_rng(0)
    on_axes = torch.zeros(200, 2, dtype=torch.float64)
    on_axes[torch.arange(200), torch.arange(200) % 2] = torch.from_numpy(rng.normal(size=200))
    angle = torch.tensor(0.5, dtype=torch.float64)
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    rotation = _varimax(on_axes @ turn)
    found = (turn @ rotation).abs()
    torch.testing.assert_close(found.max(1).values, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(2, dtype=torch.float64))


def test_too_few_busy_rows_are_told(checkerboard: tabcf.Run) -> None:
    with pytest.raises(DataError, match="expected more than 4 of item with 99 training events"):
        latent_factors(checkerboard.trained, min_count=99)


def test_the_crosstab_holds_what_was_rated_and_predicts_the_rest(checkerboard: tabcf.Run) -> None:
    table = checkerboard.inspection.crosstab(30, 20)
    events = checkerboard.trained.events.source.frame
    assert table.is_known.to_numpy().sum() == len(events)
    for row in events.head(50).itertuples():
        assert table.values.loc[row.user_id, f"film {row.item_id}"] == row.rating
    pairs = pd.DataFrame({"user_id": [3, 4], "item_id": [7, 7]})
    predicted = checkerboard.predict(pairs)["prediction"]
    assert table.predictions.loc[[3, 4], "film 7"].tolist() == pytest.approx(predicted.tolist())
    unknown = ~table.is_known
    assert np.allclose(
        table.values.where(unknown), table.predictions.where(unknown), equal_nan=True
    )
    assert table.user_vectors is not None
    assert table.item_vectors is not None
    assert table.user_vectors.shape == (30, 4)
    assert table.item_vectors.shape == (4, 20)
    assert "[5]" in str(table)


def test_the_crosstab_takes_names_and_refuses_unknown_ones(checkerboard: tabcf.Run) -> None:
    table = checkerboard.inspection.crosstab([3], ["film 2", 5])
    assert table.values.columns.tolist() == ["film 2", "film 5"]
    with pytest.raises(DataError, match="'film 99' is unknown"):
        checkerboard.inspection.crosstab([3], ["film 99"])
    with pytest.raises(DataError, match="users: expected a positive number or ids, got 0"):
        checkerboard.inspection.crosstab(0, 3)


def test_terms_add_up_to_what_the_range_is_applied_to() -> None:
    torch.manual_seed(0)
    model = DotProductBias(
        [5, 6, 3], 2, factors=3, cat_sides=["user", "item", "event"], set_cardinalities=[4]
    )
    bag = Bag(torch.tensor([1, 2, 3]), torch.tensor([0, 2]))
    x_cat, x_cont = torch.tensor([[1, 2, 0], [4, 5, 2]]), torch.randn(2, 2)
    terms = model.terms(Inputs(x_cat, x_cont, (bag,)))
    assert len(terms) == 6 + 15
    total = torch.stack([value for _, value in terms]).sum(0)
    torch.testing.assert_close(total, model(x_cat, x_cont, (bag,)).squeeze(1))


def test_why_says_which_past_items_push(checkerboard: tabcf.Run) -> None:
    user = int(checkerboard.trained.events.source.frame["user_id"].iloc[0])
    liked = 2 if user % 2 == 0 else 3
    why = checkerboard.inspection.why(user, f"film {liked}")
    assert why.unit == "before the range"
    assert why.score == pytest.approx(
        checkerboard.predict(pd.DataFrame({"user_id": [user], "item_id": [liked]}))[
            "prediction"
        ].iloc[0],
        abs=1e-4,
    )
    # Ratings of either kind say the same of such a user's taste, so most push it up.
    assert (why.past["push"] > 0).mean() > 0.5
    assert liked not in set(why.past["item_id"])
    assert why.similar_users["mean"] == pytest.approx(5.0, abs=1.0)
    assert "past items that push it" in str(why)


def test_why_of_a_model_of_histories_is_exact(liking: tabcf.Run) -> None:
    """EASE's score is the sum of what each past item adds, so pushes add up to it."""
    user = int(liking.recommend(range(30), k=1)["user_id"].iloc[0])
    item = liking.recommend(user, k=1)["item_id"].iloc[0]
    why = liking.inspection.why(user, int(item))
    assert why.past["push"].sum() == pytest.approx(why.score, abs=1e-4)


def test_why_without_terms_leaves_columns_out(spec: dict[str, Any]) -> None:
    model = {"embedding_nn": {"layers": [8], "y_range": [0, 6]}}
    run = tabcf.fit(spec | {"model": model}, tiny_ratings(), overrides=["train.epochs=3"])
    why = run.inspection.why(1, "film 1")
    assert why.unit == "left out"
    assert set(why.terms["term"]) == {"user", "item"}
    without = run.predict(pd.DataFrame({"user_id": [999], "item_id": [1]}))["prediction"].iloc[0]
    of_user = why.terms.set_index("term")["value"]["user"]
    assert of_user == pytest.approx(why.score - without, abs=1e-4)


def test_a_gap_is_explained_by_who_rated(spec: dict[str, Any]) -> None:
    """Film 0 is rated by generous users alone: a high mean, and a bias like the others'."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(60):
        level = 4.5 if user < 30 else 2.5
        for item in range(20):
            if item == 0 and user >= 30:
                continue
            rows.append((user, item, int(np.clip(round(level + rng.normal(0, 0.4)), 1, 5))))
    ratings = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])
    rest = {key: value for key, value in spec.items() if key != "train"}
    run = tabcf.fit(rest | {"model": {"bias": {"damping_user": 0, "damping_item": 0}}}, ratings)
    gaps = run.inspection.bias_gaps("item", min_count=5)
    first = gaps.loc[0]
    assert first["mean_rank"] == 1
    assert first["gap"] > 3
    assert first["why"] == "generous raters"
    assert first["raters"] > 0.5
    assert (gaps["gap"] == gaps["bias_rank"] - gaps["mean_rank"]).all()


def test_gaps_need_numbers_and_terms(liking: tabcf.Run) -> None:
    with pytest.raises(RunError, match="no numeric target"):
        liking.inspection.bias_gaps()


def test_norms_flag_vectors_that_hardly_moved(checkerboard: tabcf.Run) -> None:
    model = checkerboard.trained.build(checkerboard.trained.encoder.layout)
    model.load_state_dict(checkerboard.trained.model.state_dict())
    with torch.no_grad():
        model.column_vectors(1)[3] *= 0.01
    norms = vector_norms(replace(checkerboard.trained, model=model), "item")
    row = checkerboard.trained.encoder.entities["item"].row_of_index[3]
    assert norms.index[norms["is_undertrained"]].tolist() == [row - 1]
    assert norms["count"].is_monotonic_increasing


def test_neighbours_side_by_side(checkerboard: tabcf.Run) -> None:
    found = checkerboard.inspection.neighbours("item", "film 4", k=5)
    assert found.columns.tolist() == ["rank", "cosine", "dot", "euclidean", "agree", "basis"]
    near = checkerboard.similar("item", 4, k=5)
    assert found["cosine"].tolist() == near["title"].tolist()
    assert found["agree"].between(1, 3).all()


def test_calibration_compares_like_with_like(checkerboard: tabcf.Run) -> None:
    data = tiny_ratings(seed=5)
    table = checkerboard.inspection.calibration(data, n_bins=4)
    predicted = checkerboard.predict(data)["prediction"]
    whole = table[table["by"] == "all"]
    assert whole["n"].sum() == len(data)
    total = (whole["predicted"] * whole["n"]).sum() / len(data)
    assert total == pytest.approx(predicted.mean(), abs=1e-4)
    assert ((whole["actual"] * whole["n"]).sum() / len(data)) == pytest.approx(
        data["rating"].mean()
    )
    for entity in ("user", "item"):
        assert table[table["by"] == entity]["n"].sum() == len(data)
    unknown = pd.DataFrame({"user_id": [99], "item_id": [1], "rating": [3]})
    bands = checkerboard.inspection.calibration(unknown).set_index("by")["band"]
    assert bands["user"] == "no events"


def test_the_course_of_a_training(checkerboard: tabcf.Run) -> None:
    epochs = checkerboard.inspection.epochs()
    assert len(epochs) == 40
    assert epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0]
    schedule = checkerboard.inspection.schedule()
    assert schedule["learning_rate"].max() == pytest.approx(0.03, rel=1e-2)
    weights = checkerboard.inspection.weights().set_index("column")
    assert weights.loc["user", "n"] == 31
    assert weights.loc["item", "width"] == 5  # four factors and a bias
    assert 0.9 < weights.loc["user", "kept"] < 1.0  # a decay of 0.01 by default


def test_the_share_that_decay_leaves_is_its_product() -> None:
    kept = share_kept(constant(), 0.1, 50, {"default": 0.2, "item": 0.0})
    assert kept["default"] == pytest.approx((1 - 0.1 * 0.2) ** 50)
    assert kept["item"] == 1.0
    assert schedule_table(constant(), 0.1, n=3)["learning_rate"].tolist() == [0.1] * 3


def test_every_picture_is_drawn(checkerboard: tabcf.Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    look = checkerboard.inspection
    plots.plot_crosstab(look.crosstab(5, 5), tmp_path / "crosstab.png")
    plots.plot_bias_gaps(look.bias_gaps(min_count=5), tmp_path / "gaps.svg")
    plots.plot_map(look.map("item"), tmp_path / "map.png")
    plots.plot_norms(look.norms("item"), tmp_path / "norms.png")
    plots.plot_training(look.epochs(), tmp_path / "training.png")
    plots.plot_calibration(look.calibration(tiny_ratings()), tmp_path / "calibration.png")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 6
    assert min(sizes.values()) > 5_000
