"""What holds for every selector that comes with tabcf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.definitions import SelectorDefinition
from tabcf.contracts.selector import Answers, PastAnswers, Selector, SelectsForMany
from tabcf.contracts.target import TargetInfo
from tabcf.run.builtins import builtin_registry

REGISTRY = builtin_registry()
# `rehearsed` learns from a model's own rows: tests/unit/recommend/test_onboarding_rehearsed.py.
NAMES = [name for name in REGISTRY.names("selector") if name != "rehearsed"]
KINDS = [
    TargetInfo("rating", ("rating",), levels=(1, 2, 3, 4, 5)),
    TargetInfo("binary", ("liked",), labels=("no", "yes")),
    TargetInfo("implicit"),
]
N_ITEMS = 12


def gain(
    asked: Sequence[Sequence[Any]], answers: Sequence[Answers], among: Sequence[Any]
) -> np.ndarray:
    """Something that differs from item to item and falls with every answer."""
    n_known = [sum(answer is not None for answer in own) for own in answers]
    return np.outer(1 / (1 + np.array(n_known)), [1 + int(item[1:]) % 5 for item in among])


def past_of(target: TargetInfo, seed: int = 0) -> PastAnswers:
    """Sixty users; the last two of twelve items nobody had."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((60, N_ITEMS)) < np.linspace(0.9, 0.1, N_ITEMS))
    user, item = user[item < 10], item[item < 10]
    highest = 5 if target.kind == "rating" else 1
    value = rng.integers(1 if highest == 5 else 0, highest + 1, len(user)).astype(float)
    names = [f"i{number}" for number in range(N_ITEMS)]
    return PastAnswers(names, 60, user, item, value, target, seed, gain)


def built(name: str, past: PastAnswers) -> Selector:
    definition: SelectorDefinition = REGISTRY.get("selector", name)
    if not definition.needs_posterior:
        past = replace(past, gain=None)
    return definition.build(past, definition.options())


@pytest.mark.parametrize("target", KINDS, ids=lambda target: target.kind)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_it_asks_about_other_items_that_are_there(
    name: str, target: TargetInfo, data: st.DataObject
) -> None:
    past = past_of(target)
    selector = built(name, past)
    asked = data.draw(st.lists(st.sampled_from(list(past.items)), unique=True))
    answer = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0]))
    answers = data.draw(st.lists(answer, min_size=len(asked), max_size=len(asked)))
    k = data.draw(st.integers(1, N_ITEMS + 2))
    found = selector.select(k, asked, answers)
    assert len(found) == len(set(found)) == min(k, N_ITEMS - len(asked))
    assert set(found) <= set(past.items) - set(asked)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_interview_asks_about_every_item_once(name: str) -> None:
    selector = built(name, past_of(KINDS[0]))
    asked: list[Any] = []
    answers: list[float | None] = []
    for number in range(N_ITEMS):
        asked += selector.select(1, asked, answers)
        answers.append(None if number % 3 else 4.0)
    assert len(set(asked)) == N_ITEMS
    assert list(selector.select(1, asked, answers)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_questions(name: str) -> None:
    first, second = (built(name, past_of(KINDS[0], seed=3)) for _ in range(2))
    for asked, answers in (([], []), (["i1"], [5.0]), (["i1", "i0"], [5.0, None])):
        assert list(first.select(4, asked, answers)) == list(second.select(4, asked, answers))


@pytest.mark.parametrize("name", NAMES)
def test_what_nobody_had_is_asked_about_last(name: str) -> None:
    found = built(name, past_of(KINDS[0])).select(N_ITEMS, [], [])
    if name != "random":
        assert set(found[-2:]) == {"i10", "i11"}


@pytest.mark.parametrize("name", NAMES)
def test_many_users_get_what_each_would_get_alone(name: str) -> None:
    selector = built(name, past_of(KINDS[0]))
    if not isinstance(selector, SelectsForMany):
        return
    asked: list[list[str]] = [[], ["i1"], ["i4", "i2"]]
    answers: list[list[float | None]] = [[], [None], [5.0, None]]
    together = selector.select_many(3, asked, answers)
    alone = [selector.select(3, a, b) for a, b in zip(asked, answers, strict=True)]
    assert [list(own) for own in together] == [list(own) for own in alone]
