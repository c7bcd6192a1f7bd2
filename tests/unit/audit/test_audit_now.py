"""An audit's figures on a case that is small enough to do by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.audit.groups import AuditGroup, groups_of, heaviest, item_shares
from tabcf.audit.now import Held, UserLists, audit
from tabcf.errors import DataError
from tabcf.recommend.trained import History, Trained

# Ann (city x) had everything, Bob two items and Cid one; item e nobody.
EVENTS = [("ann", "a"), ("ann", "b"), ("ann", "c"), ("ann", "d"), ("bob", "a"), ("bob", "b")]
EVENTS += [("cid", "a"), ("cid", "a")]  # one pair
KIND = {"a": "war", "b": "war|love", "c": "love", "d": "", "e": "love"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("audit")
    pd.DataFrame({"item_id": [*KIND], "kind": [*KIND.values()], "year": range(5)}).to_csv(
        folder / "items.csv", index=False
    )
    users = pd.DataFrame({"user_id": ["ann", "bob", "cid"], "city": ["x", "x", "y"]})
    users.to_csv(folder / "users.csv", index=False)
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {
            "user": {"id": "user_id", "table": str(folder / "users.csv")},
            "item": {"id": "item_id", "table": str(folder / "items.csv")},
        },
        "model": "popular",
        "split": {"random": {"valid": 0, "test": 0}},
    }
    return tabcf.fit(spec, pd.DataFrame(EVENTS, columns=["user_id", "item_id"])).trained


# Rows: ann 1, bob 2, cid 3; a 1 ... e 5. Ann gets e alone, a list that is short.
LISTS = UserLists(np.array([1, 2, 3]), np.array([[5, 0], [3, 4], [2, 3]]))


def figures(found: object, group: str, users: str) -> dict[str, float]:
    frame = found.groups
    own = frame[(frame["group"] == group) & (frame["users"] == users)]
    assert len(own) == 1
    return own.iloc[0].to_dict()


def test_shares_of_a_group_of_items(trained: Trained) -> None:
    groups, n_small = groups_of(trained, ["item.kind"])
    assert [group.name for group in groups] == ["item.kind=love", "item.kind=war"]
    assert n_small == 0
    found = audit(trained, LISTS, groups)
    # War is a and b. Seven pairs: ann a b, bob a b, cid a of them. Listed: b once in five places.
    war = figures(found, "item.kind=war", "all")
    assert war["share_data"] == pytest.approx(5 / 7)
    assert war["share_recommended"] == pytest.approx(1 / 5)
    assert war["amplification"] == pytest.approx((1 / 5) / (5 / 7))
    # Half of its 5 events are 2.5: ann's two and bob's two.
    assert groups[1].members.tolist() == [False, True, True, False]
    members = figures(found, "item.kind=war", "members")
    assert (members["n_users"], members["share_data"]) == (2, pytest.approx(4 / 6))
    assert members["share_recommended"] == 0.0  # e, c and d
    others = figures(found, "item.kind=war", "others")
    assert others["share_data"] == 1.0
    assert others["share_recommended"] == pytest.approx(1 / 2)  # b and c


def test_a_group_of_users_is_in_items_as_far_as_it_had_them(trained: Trained) -> None:
    groups, _ = groups_of(trained, ["user.city"])
    city_y = groups[1]
    assert city_y.name == "user.city=y"
    assert city_y.members.tolist() == [False, False, False, True]
    # Cid's one event is a third of those of a.
    assert city_y.items.tolist() == pytest.approx([0, 1 / 3, 0, 0, 0, 0])
    found = audit(trained, LISTS, groups)
    y = figures(found, "user.city=y", "all")
    assert y["share_data"] == pytest.approx(1 / 7)  # their share of the events
    assert y["share_recommended"] == 0.0
    x = figures(found, "user.city=x", "all")
    # b, c and d were had by x alone, and nobody had e.
    assert x["share_recommended"] == pytest.approx((0 + 1 + 1 + 1 + 1) / 5)
    assert x["amplification"] == pytest.approx((4 / 5) / (6 / 7))


def test_figures_over_all(trained: Trained) -> None:
    found = audit(trained, LISTS, [])
    o = found.overall
    assert (o["n_users"], o["n_items"], o["n_events"]) == (3, 5, 7)
    assert o["coverage"] == pytest.approx(4 / 5)
    # Exposures 0 1 1 1 2: sum_r (2r - 6) x_r / (5 * 5).
    assert o["gini"] == pytest.approx((-2 + 0 + 2 + 8) / 25)
    # Events 0 1 1 2 3.
    assert o["gini_data"] == pytest.approx((-2 * 1 + 0 * 1 + 2 * 2 + 4 * 3) / 35)
    # Shares of the three users: a 1, b 2/3, c and d 1/3, e 0.
    ann, bob, cid = (1 + 2 / 3 + 1 / 3 + 1 / 3) / 4, (1 + 2 / 3) / 2, 1.0
    assert o["popularity_data"] == pytest.approx((ann + bob + cid) / 3)
    assert o["popularity"] == pytest.approx((0 + 1 / 3 + (2 / 3 + 1 / 3) / 2) / 3)
    assert o["popularity_lift"] == pytest.approx(o["popularity"] / o["popularity_data"] - 1)
    # 0.8 of 7 events are 5.6: a, b and c are the head with 3 + 2 + 1.
    assert o["tail_data"] == pytest.approx(1 / 7)
    assert o["tail"] == pytest.approx(2 / 5)  # d and e
    assert "ndcg" not in o
    assert "held rows" not in str(found)


def test_tastes_go_by_the_share_of_the_head(trained: Trained) -> None:
    """With 5 users a fifth is one: Ann had an item of the tail, the others none."""
    five = UserLists(np.array([1, 2, 3, 2, 3]), np.tile([3, 4], (5, 1)))
    tastes = audit(trained, five, []).tastes.set_index("users")
    assert tastes["n_users"].tolist() == [1, 3, 1]
    assert tastes.loc["niche", "head_data"] == pytest.approx(3 / 4)
    assert tastes.loc["mainstream", "head_data"] == 1.0
    assert tastes["head"].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert tastes.loc["niche", "popularity_lift"] == pytest.approx(
        (1 / 3) / ((1 + 2 / 3 + 1 / 3 + 1 / 3) / 4) - 1
    )


def test_accuracy_of_members_and_of_everyone_else(trained: Trained) -> None:
    groups, _ = groups_of(trained, ["user.city"])
    # Bob is to find d and e, Cid b; Ann nothing.
    relevant = History.of_pairs(np.array([2, 2, 3]), np.array([4, 5, 2]), 4)
    errors = np.array([[0, 0, 8.0, 1.0], [0, 0, 2.0, 1.0]])
    found = audit(trained, LISTS, groups, held=Held(relevant, errors))
    bob = (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    assert found.overall["n_lists"] == 2
    assert found.overall["ndcg"] == pytest.approx((bob + 1) / 2)
    assert found.overall["recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert found.overall["rmse"] == pytest.approx(math.sqrt(9 / 3))
    x = figures(found, "user.city=x", "members")
    assert (x["n_lists"], x["ndcg"], x["rmse"]) == (1, pytest.approx(bob), pytest.approx(2.0))
    assert figures(found, "user.city=x", "others")["ndcg"] == pytest.approx(1.0)
    assert found.n_without == 1
    assert "NDCG@2" in str(found)


def test_the_heaviest_are_the_fewest_with_half() -> None:
    assert heaviest(np.array([0, 5, 3, 2])).tolist() == [False, True, False, False]
    assert heaviest(np.array([0, 4, 3, 3])).tolist() == [False, True, True, False]
    assert not heaviest(np.zeros(3, dtype=int)).any()


def test_shares_of_items_add_up(trained: Trained) -> None:
    one = item_shares(trained, np.array([False, True, False, False]))
    rest = item_shares(trained, np.array([False, False, True, True]))
    assert (one + rest).tolist() == pytest.approx([0, 1, 1, 1, 1, 0])


def test_groups_by_name_value_and_default(trained: Trained) -> None:
    names = [group.name for group in groups_of(trained).groups]
    assert names == [
        *("user.city=x", "user.city=y", "item.kind=love", "item.kind=war"),
        *("item.year=0", "item.year=1", "item.year=2", "item.year=3"),
    ]
    assert groups_of(trained).n_small == 1  # item e of the year 4 has no event
    assert groups_of(trained, min_share=0.5).n_small == 7
    (war,) = groups_of(trained, ["item.kind=war"], min_share=1.0).groups
    assert war.name == "item.kind=war"
    for name, said in (
        ("item.kind=sea", "group item.kind=sea: no value 'sea'; known: love, war"),
        ("item.kid", "no column 'kid'; did you mean 'kind'"),
        ("kind", "expected such as user.occupation or item.genres; columns: user.city, item.kind"),
    ):
        with pytest.raises(DataError, match=said):
            groups_of(trained, [name])


def test_what_is_found_is_plain_json(trained: Trained) -> None:
    import json

    empty = AuditGroup("nobody", np.zeros(4, dtype=bool), np.zeros(6))
    found = audit(trained, LISTS, [empty])
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert read["groups"][0]["amplification"] is None
    assert read["overall"]["coverage"] == found.overall["coverage"]
    assert "nobody" not in str(found)


def test_a_runs_lists_are_audited_as_they_are_served(tmp_path: Path) -> None:
    """Lists of `recommend`, counted by hand from its frame."""
    from tests.flow.test_reranking import TABLES, spec_in

    run = tabcf.fit(spec_in(tmp_path, rerank={"calibrated": {"of": "kind"}}), TABLES.events)
    found = run.audit(["item.kind"], k=5)
    users, items = run.trained.past.positive.pairs()
    for rerank, audited in ((True, found), (False, run.audit(["item.kind"], k=5, rerank=False))):
        lists = run.recommend(np.unique(users) - 1, k=5, rerank=rerank)
        is_anime = TABLES.items["kind"].str.contains("anime")
        shown, had = is_anime[lists["item_id"]].mean(), is_anime[items - 1].mean()
        own = figures(audited, "item.kind=anime", "all")
        assert own["share_data"] == pytest.approx(had)
        assert own["share_recommended"] == pytest.approx(shown)
    assert found.k == 5
    held = run.audit(["user.city"], data=TABLES.events)
    expected = run.evaluate(TABLES.events)
    assert run.audit(rerank=False, data=TABLES.events).overall["ndcg"] == pytest.approx(
        expected["ndcg@10"]
    )
    assert held.overall["ndcg"] != pytest.approx(expected["ndcg@10"])
