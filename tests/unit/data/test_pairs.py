"""Items of users: in their order, counted and looked up, whatever the blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.pairs import by_user, event_counts, stands_in

N_USERS, N_ITEMS = 5, 6
PAIRS = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=40)


def table(pairs: list[tuple[int, int]]) -> Table:
    """Events whose weights tell their places."""
    users, items = torch.tensor(pairs, dtype=torch.int32).view(-1, 2).unbind(1)
    entities = {
        name: EntityTable(Inputs(torch.arange(n, dtype=torch.int32)[:, None], torch.zeros(n, 0)))
        for name, n in (("user", N_USERS), ("item", N_ITEMS))
    }
    n = len(pairs)
    return Table(
        {"user": users.contiguous(), "item": items.contiguous()},
        Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0)),
        entities,
        weight=torch.arange(n, dtype=torch.float32),
    )


@given(pairs=PAIRS, block=st.integers(1, 9))
def test_users_have_their_items_in_the_order_of_the_events(
    pairs: list[tuple[int, int]], block: int
) -> None:
    number = torch.arange(N_ITEMS, dtype=torch.int32) - 1  # of item row 0 none
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tabcf.data.pairs._BLOCK", block)
        found = by_user(table(pairs), number)
        counts = event_counts(table(pairs), "item").tolist()
    kept = [(user, item - 1, place) for place, (user, item) in enumerate(pairs) if item]
    kept.sort(key=lambda event: event[0])  # which keeps the order of equal users
    assert found.items.tolist() == [item for _, item, _ in kept]
    assert found.weight is not None
    assert found.weight.tolist() == [place for *_, place in kept]
    users = [user for user, *_ in kept]
    assert found.users.tolist() == sorted(set(users))
    assert found.counts.tolist() == [users.count(user) for user in sorted(set(users))]
    assert counts == [[item for _, item in pairs].count(item) for item in range(N_ITEMS)]


@given(pairs=PAIRS)
def test_what_users_had_is_found_and_nothing_else(pairs: list[tuple[int, int]]) -> None:
    distinct = sorted(set(pairs))
    items = torch.tensor([item for _, item in distinct], dtype=torch.int32)
    users = [user for user, _ in distinct]
    bounds = torch.tensor([sum(u < user for u in users) for user in range(N_USERS + 1)])
    wanted = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS))
    found = stands_in(items, bounds, *wanted.unbind(1))
    assert found.tolist() == [tuple(pair) in set(pairs) for pair in wanted.tolist()]
