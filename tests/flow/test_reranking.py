"""Re-rankers from a spec, from Python and from the command line, over one planted catalogue."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.definitions import RerankerDefinition
from tabcf.contracts.options import Options
from tabcf.errors import DataError, RunError, SpecError, TabcfError
from tabcf.plugin.hooks import hookimpl
from tabcf.run.builtins import builtin_registry
from tabcf.spec.explain import explain
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec
from tabcf.spec.schema import json_schema
from tabcf.testing import heavy_group
from tests.unit.cli.test_cli import call

TABLES = heavy_group()
USERS = list(range(40))


def spec_in(folder: Path, **more: Any) -> dict[str, Any]:
    """A spec whose tables lie in a folder."""
    TABLES.users.to_csv(folder / "users.csv", index=False)
    TABLES.items.to_csv(folder / "items.csv", index=False)
    return {
        "tabcf": 1,
        "name": "films",
        "target": {"implicit": {}},
        "entities": {
            "user": {"id": "user_id", "table": str(folder / "users.csv")},
            "item": {"id": "item_id", "table": str(folder / "items.csv"), "label": "title"},
        },
        "model": {"dot_product": {"factors": 16}},
        "split": {"random": {"valid": 0, "test": 0.2}},
        "train": {"epochs": 20, "batch_size": 16, "learning_rate": 0.02},
        **more,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reranking")


@pytest.fixture(scope="module")
def run(folder: Path) -> tabcf.Run:
    spec = spec_in(folder, rerank={"calibrated": {"of": "kind", "strength": 0.7}})
    return tabcf.fit(spec, TABLES.events, folder / "run")


def kinds(lists: pd.DataFrame) -> pd.DataFrame:
    """Users by kinds: shares of their lists, an item's weight spread over its kinds."""
    found = lists.merge(TABLES.items, on="item_id")
    found["kind"] = found["kind"].str.split("|")
    found["weight"] = 1 / found["kind"].str.len()
    found = found.explode("kind").pivot_table(
        index="user_id", columns="kind", values="weight", aggfunc="sum", fill_value=0
    )
    return found.div(found.sum(axis=1), axis=0)


def had(run: tabcf.Run) -> pd.DataFrame:
    users, items = run.trained.past.positive.pairs()
    return kinds(pd.DataFrame({"user_id": users - 1, "item_id": items - 1}))


def distance(run: tabcf.Run, lists: pd.DataFrame) -> float:
    """How far lists are from what their users had, as half the sum of absolute differences."""
    own = kinds(lists)
    wanted = had(run).reindex(index=own.index, columns=own.columns, fill_value=0)
    return float((own - wanted).abs().sum(axis=1).mean() / 2)


def test_a_run_serves_the_lists_of_its_spec(run: tabcf.Run, folder: Path) -> None:
    served = run.recommend(USERS)
    plain = run.recommend(USERS, rerank=False)
    assert distance(run, served) < 0.75 * distance(run, plain)
    pd.testing.assert_frame_equal(tabcf.load(folder / "run").recommend(USERS), served)
    # The model's own scores are shown, which no longer fall.
    scores = plain.set_index(["user_id", "item_id"])["score"]
    shown = served.set_index(["user_id", "item_id"])["score"]
    both = scores.index.intersection(shown.index)
    assert len(both) > 40
    np.testing.assert_array_equal(shown[both], scores[both])
    assert (served.groupby("user_id")["score"].diff() > 0).any()


def test_what_was_had_is_not_listed_and_nothing_twice(run: tabcf.Run) -> None:
    users, items = run.trained.past.seen.pairs()
    seen = set(zip(users - 1, items - 1, strict=True))
    for rerank in ("mmr", "xquad", {"calibrated": {"of": "kind"}}, "popularity_penalty"):
        lists = run.recommend(USERS, rerank=rerank)
        pairs = list(zip(lists["user_id"], lists["item_id"], strict=True))
        assert len(set(pairs)) == len(pairs) == 10 * len(USERS)
        assert not seen & set(pairs)


def test_no_strength_is_no_change(run: tabcf.Run) -> None:
    plain = run.recommend(USERS, rerank=False)
    for name in ("mmr", "xquad", "calibrated", "popularity_penalty"):
        of = {"of": "kind"} if name == "calibrated" else {}
        same = run.recommend(USERS, rerank={name: {"strength": 0, **of}})
        pd.testing.assert_frame_equal(same, plain)
    sure = run.recommend(USERS, rerank={"epsilon_greedy": 0})
    assert (sure.pop("propensity") == 1).all()
    pd.testing.assert_frame_equal(sure, plain)


def test_each_does_what_it_is_for(run: tabcf.Run) -> None:
    plain = run.recommend(USERS, rerank=False)
    counts = TABLES.events["item_id"].value_counts()

    def popularity(lists: pd.DataFrame) -> float:
        return float(counts.reindex(lists["item_id"], fill_value=0).mean())

    for rerank in ({"popularity_penalty": 1.0}, {"xquad": {"strength": 0.9, "smooth": True}}):
        assert popularity(run.recommend(USERS, rerank=rerank)) < popularity(plain)
    diverse = run.recommend(USERS, rerank={"mmr": {"of": "kind", "strength": 0.9}})
    top = diverse[diverse["rank"] <= 4].merge(TABLES.items, on="item_id")
    plain_top = plain[plain["rank"] <= 4].merge(TABLES.items, on="item_id")
    assert top.groupby("user_id")["kind"].nunique().mean() > 3
    assert plain_top.groupby("user_id")["kind"].nunique().mean() < 3
    capped = run.recommend(USERS, rerank={"group_caps": {"of": "kind", "share": {"anime": 0.2}}})
    is_anime = capped.merge(TABLES.items, on="item_id")["kind"].str.contains("anime")
    assert is_anime.groupby(capped["user_id"]).sum().max() == 2
    shares = run.recommend(USERS, k=5, rerank={"group_caps": {"of": "kind", "share": 0.4}})
    assert (kinds(shares) <= 0.5).all(axis=None)  # at most 2 of 5, of lists that may be shorter


def test_re_rankers_stand_one_behind_the_other(run: tabcf.Run) -> None:
    price = {"popularity_penalty": 1.0}
    mixed = {"calibrated": {"of": "kind", "strength": 0.7}}
    both = run.recommend(USERS, rerank=[price, mixed])
    other = run.recommend(USERS, rerank=[mixed, price])
    assert not both["item_id"].equals(other["item_id"])
    assert distance(run, both) < distance(run, run.recommend(USERS, rerank=price))
    # The second looks at what the first leaves.
    narrow = run.recommend(USERS, rerank=[{"mmr": {"n": 10, "strength": 0}}, mixed])
    plain = run.recommend(USERS, rerank=False)
    assert (
        narrow.groupby("user_id")["item_id"]
        .agg(set)
        .equals(plain.groupby("user_id")["item_id"].agg(set))
    )


def test_draws_come_with_propensities_and_from_a_seed(run: tabcf.Run) -> None:
    rerank = {"epsilon_greedy": {"epsilon": 0.5}}
    drawn = run.recommend(USERS, rerank=rerank)
    assert list(drawn)[-3:] == ["score", "propensity", "basis"]
    assert drawn["propensity"].between(0, 1, inclusive="right").all()
    pd.testing.assert_frame_equal(run.recommend(USERS, rerank=rerank), drawn)
    other = run.recommend(USERS, rerank={"epsilon_greedy": {"epsilon": 0.5, "seed": 7}})
    assert not other["item_id"].equals(drawn["item_id"])
    assert "propensity" not in run.recommend(USERS, rerank="mmr")


def test_propensities_of_a_run_are_shares_of_its_draws(run: tabcf.Run) -> None:
    """One user a thousand times over, in each of which the draws are new."""
    n_draws = 4000
    for rerank in ({"epsilon_greedy": {"epsilon": 0.6, "n": 6}}, {"thompson": {"n": 6}}):
        drawn = run.recommend([3] * n_draws, k=2, rerank=rerank)
        for _, own in drawn.groupby("rank"):
            seen = own.groupby("item_id")["propensity"].agg(["size", "mean", "std"])
            np.testing.assert_allclose(seen["size"] / n_draws, seen["mean"], atol=0.04)
            assert seen["std"].fillna(0).max() < 1e-6


def test_a_user_with_few_events_is_less_sure(run: tabcf.Run) -> None:
    """The posterior of a fan with 30 events is narrower than that of somebody unknown."""
    known = run.recommend([0], k=1, rerank={"thompson": {"spread": "posterior"}})
    chances = [
        run.recommend(
            [user] * 300, k=1, rerank={"thompson": {"spread": "posterior", "scale": 0.3}}
        )["item_id"].nunique()
        for user in (0, 12_345)
    ]
    assert len(known) == 1
    assert chances[0] < chances[1]


def test_a_model_without_rows_of_users_goes_by_events(folder: Path) -> None:
    ease = tabcf.fit(spec_in(folder, model="ease"), TABLES.events)
    drawn = ease.recommend(USERS, rerank="thompson")
    assert drawn["propensity"].between(0, 1).all()
    with pytest.raises(RunError, match="says nothing of how sure it is"):
        ease.recommend(USERS, rerank={"thompson": {"spread": "posterior"}})
    with pytest.raises(RunError, match="learns no vectors"):
        ease.recommend(USERS, rerank="mmr")


@pytest.mark.parametrize(
    ("rerank", "said"),
    [
        ("mrr", "rerank: no re-ranker named 'mrr'; did you mean 'mmr'"),
        ({"mmr": {"strength": 2}}, r"rerank.strength: expected .* at most 1, got 2"),
        ([{"group_caps": {"of": "kind"}}], r"rerank\[0\].share: is required"),
        (3, "rerank: expected a name, or a mapping of a name to its options, got 3"),
    ],
)
def test_wrong_names_and_options_are_told(run: tabcf.Run, rerank: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        run.recommend(USERS, rerank=rerank)


@pytest.mark.parametrize(
    ("rerank", "more", "said"),
    [
        (["epsilon_greedy", "mmr"], {}, "epsilon_greedy says how likely each item was"),
        ("thompson", {"max_per": {"kind": 2}}, "max_per: it would leave out items after"),
        ({"calibrated": {"of": "genre"}}, {}, "no column 'genre'"),
        (
            {"group_caps": {"share": {"anme": 0.1}, "of": "kind"}},
            {},
            "no item has the value 'anme'",
        ),
    ],
)
def test_what_does_not_go_together_is_told(
    run: tabcf.Run, rerank: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        run.recommend(USERS, rerank=rerank, **more)


def test_a_lone_column_needs_no_name(run: tabcf.Run) -> None:
    """The items' table has an id, a label and one column more."""
    named = run.recommend(USERS, rerank={"calibrated": {"of": "kind"}})
    pd.testing.assert_frame_equal(run.recommend(USERS, rerank="calibrated"), named)


def test_max_per_holds_behind_a_re_ranker(run: tabcf.Run) -> None:
    lists = run.recommend(USERS, max_per={"kind": 3})
    shares = lists.merge(TABLES.items, on="item_id")
    of_kind = shares.assign(kind=shares["kind"].str.split("|")).explode("kind")
    assert of_kind.groupby(["user_id", "kind"]).size().max() == 3


def test_lists_of_an_index_and_of_a_first_stage_are_put_into_order_too(
    run: tabcf.Run, folder: Path
) -> None:
    if find_spec("hnswlib") is not None:
        indexed = tabcf.load(folder / "run")
        indexed.build_index(recall=1.0)
        found = indexed.recommend(USERS, index=True)
        same = found["item_id"].to_numpy() == run.recommend(USERS)["item_id"].to_numpy()
        assert same.mean() > 0.95
        assert not found["item_id"].equals(indexed.recommend(USERS, index=True, rerank=False))
    popular = tabcf.fit(spec_in(folder, model="popular"), TABLES.events)
    first = popular.recommend(USERS, k=12)
    both = run.recommend(USERS, k=5, retrieve=popular, n_retrieved=12)
    pairs = set(zip(first["user_id"], first["item_id"], strict=True))
    assert set(zip(both["user_id"], both["item_id"], strict=True)) < pairs
    plain = run.recommend(USERS, k=5, retrieve=popular, n_retrieved=12, rerank=False)
    assert distance(run, both) < distance(run, plain)


@pytest.mark.parametrize(
    ("rerank", "said"),
    [
        ("nope", "rerank: no re-ranker named 'nope'"),
        ({"calibrated": {"of": "genre"}}, "calibrated: no column 'genre' in the table of item"),
        (["thompson", "mmr"], r"rerank\[0\]: thompson says how likely each item was"),
        ([{"mmr": {"strnegth": 1}}], r"rerank\[0\]: unknown key 'strnegth'"),
    ],
)
def test_a_spec_is_checked_before_training(folder: Path, rerank: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        tabcf.fit(spec_in(folder, rerank=rerank), TABLES.events)


@pytest.mark.parametrize("rerank", ["mmr", {"mmr": {"n": 20}}, ["xquad", {"mmr": 0.2}], []])
def test_one_or_a_list_is_right_everywhere(folder: Path, rerank: Any) -> None:
    registry = builtin_registry()
    spec = spec_in(folder, rerank=rerank)
    jsonschema.Draft202012Validator(json_schema(registry)).validate(spec)
    document = read_spec(spec, registry)
    assert Spec.model_validate(document.spec.model_dump(mode="json")) == document.spec
    rows = {row.path: row for row in explain(document, registry)}
    if rerank == ["xquad", {"mmr": 0.2}]:
        assert rows["rerank[0]"].value == "xquad"
        assert rows["rerank[1].mmr.strength"][1:] == (0.2, "given")
        assert rows["rerank[1].mmr.n"][1:] == (100, "default")


def test_lists_need_users_and_items() -> None:
    spec = {"tabcf": 1, "target": "y", "model": "tabular", "rerank": "mmr"}
    with pytest.raises(SpecError, match="rerank: mmr orders lists; it needs the entities user"):
        tabcf.fit(spec, pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}))


def test_the_command_line_takes_yaml(run: tabcf.Run, folder: Path) -> None:
    where = str(folder / "run")

    def listed(*options: str) -> list[int]:
        code, printed, _ = call("recommend", where, "--user", "3", *options, "--json")
        assert code == 0
        return [row["item_id"] for row in json.loads(printed)]

    assert listed() == run.recommend(3)["item_id"].tolist()
    assert listed("--no-rerank") == run.recommend(3, rerank=False)["item_id"].tolist()
    chain = ["--rerank", "popularity_penalty: 1.0", "--rerank", "mmr: {of: kind}"]
    expected = run.recommend(3, rerank=[{"popularity_penalty": 1.0}, {"mmr": {"of": "kind"}}])
    assert listed(*chain) == expected["item_id"].tolist()
    code, _, said = call("recommend", where, "--user", "3", "--rerank", "mmrr")
    assert code == 2
    assert "no re-ranker named 'mmrr'" in said


def test_lists_of_newcomers_are_re_ranked_as_the_spec_says(run: tabcf.Run) -> None:
    """Two newcomers with the events of known users get lists that are spread as those are."""
    events = TABLES.events[TABLES.events["user_id"].isin([3, 50])]
    new = events[["user_id", "item_id"]].assign(user_id=events["user_id"] + 1000)
    newcomers = run.fold_in(new)
    served, own = newcomers.recommend(k=10), newcomers.recommend(k=10, rerank=False)
    past = kinds(new)
    apart = [(kinds(lists) - past).abs().sum(axis=1).sum() for lists in (served, own)]
    assert apart[0] < apart[1]
    assert served["user_id"].drop_duplicates().tolist() == [1003, 1050]
    explored = newcomers.recommend(k=10, rerank="thompson")
    assert explored["propensity"].between(0, 1).all()
    with pytest.raises(RunError, match="says nothing of how sure it is"):
        newcomers.recommend(rerank={"thompson": {"spread": "posterior"}})
    with pytest.raises(SpecError, match="mmmr"):
        newcomers.recommend(rerank="mmmr")


def test_new_items_are_re_ranked_among_known_ones(run: tabcf.Run) -> None:
    """They have vectors and values like any, and no popularity, having been in no training."""
    fans = TABLES.events[TABLES.events["item_id"] == 0]
    attributes = pd.DataFrame({"item_id": [900], "title": ["Film 0, again"], "kind": ["anime"]})
    new = run.fold_in(fans.assign(item_id=900), entity="item", attributes=attributes)
    for given in (
        "mmr",
        {"xquad": 0.5},
        {"popularity_penalty": 1.0},
        {"calibrated": {"of": "kind"}},
    ):
        lists = new.recommend(USERS, k=20, rerank=given)
        assert (lists.groupby("user_id")["item_id"].nunique() == 20).all()
    users = [user for user in USERS if user not in set(fans["user_id"])]
    first = new.recommend(users, k=1, rerank={"popularity_penalty": 100.0})
    assert first["item_id"].tolist() == [900] * len(users)
    found = new.recommend(users, k=91, only_new=True, rerank="mmr")
    assert found["item_id"].tolist() == [900] * len(users)


def test_a_re_ranker_of_a_plugin_is_named_like_any(folder: Path, tmp_path: Path) -> None:
    class Last(Options):
        n: int = 20

    class Plugin:
        @hookimpl
        def tabcf_rerankers(self) -> list[RerankerDefinition]:
            return [
                RerankerDefinition(
                    name="reversed",
                    options=Last,
                    summary="The last of them first.",
                    example="reversed",
                    build=lambda options: (
                        lambda pool, n, rng: pool.ordered(
                            (pool.columns >= 0).sum(1, keepdim=True)
                            - 1
                            - torch.arange(pool.columns.shape[1])
                        )
                    ),
                )
            ]

    fitted = tabcf.fit(
        spec_in(folder, rerank="reversed"), TABLES.events, tmp_path / "run", plugins=[Plugin()]
    )
    own = fitted.recommend(5, k=20, rerank=False)["item_id"].tolist()
    assert fitted.recommend(5, k=20)["item_id"].tolist() == own[::-1]
    again = tabcf.load(tmp_path / "run", plugins=[Plugin()])
    assert again.recommend(5, k=3)["item_id"].tolist() == own[::-1][:3]
    with pytest.raises(TabcfError, match="reversed"):
        tabcf.load(tmp_path / "run").recommend(5)
