"""Starts, parts, patterns and hashes of texts; and every kind's example."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.derive.texts import as_text, hashed
from tabcf.plugin.registry import parse_options
from tabcf.run.builtins.columns import COLUMNS
from tabcf.spec.components import name_and_options

KINDS = {definition.name: definition for definition in COLUMNS}


def made(kind: str, given: dict[str, Any], values: Any) -> list[Any]:
    """The column made of one column `x`; None where missing."""
    definition = KINDS[kind]
    options = parse_options(definition.options, {"from": "x", **given})
    assert definition.sources("y", options) == ("x",)
    series = definition.apply(Tables(EVENT, pd.DataFrame({"x": values})), options, None)
    assert len(series) == len(values)
    return [None if value is pd.NA or value != value else value for value in series]


def test_values_read_as_ids_do() -> None:
    assert as_text(pd.Series([7, 8])).tolist() == ["7", "8"]
    assert as_text(pd.Series([7.0, -0.0, 2.5])).tolist() == ["7", "0", "2.5"]
    assert as_text(pd.Series([7, None], dtype="Int64")).tolist()[0] == "7"
    assert as_text(pd.Series([True, False])).tolist() == ["True", "False"]
    assert as_text(pd.Series([True, 1, 1.0, "1"], dtype=object)).tolist() == ["True", "1", "1", "1"]
    assert as_text(pd.Series(["b", None, "a"], dtype="category")).isna().tolist() == [
        False,
        True,
        False,
    ]
    assert as_text(pd.Series([3, 1, 3], dtype="category")).tolist() == ["3", "1", "3"]


def test_prefix() -> None:
    assert made("prefix", {"length": 2}, ["94110", "9", None]) == ["94", "9", None]
    assert made("prefix", {"length": 2}, [94110, 94999, np.nan]) == ["94", "94", None]


def test_split() -> None:
    genres = ["Action|Drama", "Comedy", None, "|Drama", ""]
    assert made("split", {"separator": "|"}, genres) == ["Action", "Comedy", None, None, None]
    last = {"separator": "|", "part": -1}
    assert made("split", last, genres) == ["Drama", "Comedy", None, "Drama", None]
    second = {"separator": "|", "part": -2}
    assert made("split", second, genres) == ["Action", None, None, None, None]
    assert made("split", {"separator": ",", "part": 1}, ["Lyon, FR"]) == ["FR"]


def test_regex_keeps_a_group_of_the_first_match() -> None:
    titles = ["Heat (1995)", "Heat", None, "1 (2) (1999)", "é (2001)"]
    year = {"pattern": r"\((\d{4})\)$"}
    assert made("regex", year, titles) == ["1995", None, None, "1999", "2001"]
    assert made("regex", {"pattern": r"\d+", "group": 0}, titles) == [
        "1995",
        None,
        None,
        "1",
        "2001",
    ]
    assert made("regex", {"pattern": "^(?i)HE(.)", "group": 1}, titles[:2]) == ["a", "a"]
    assert made("regex", {"pattern": "(a)|(b)", "group": 2}, ["xb", "xa"]) == ["b", None]
    assert made("regex", {"pattern": "a(?s:.)b", "group": 0}, ["1\na\nb\n"]) == ["a\nb"]


def test_a_pattern_that_would_hang_pythons_engine_does_not_here() -> None:
    # Exponential for a backtracking engine: 2 ** 5000 steps.
    started = time.monotonic()
    assert made("regex", {"pattern": "(a|a)*(a+)+$"}, ["a" * 5000 + "b"]) == [None]
    assert time.monotonic() - started < 60


def test_a_pattern_is_checked_without_pandas() -> None:
    program = (
        "import sys; from tabcf.data.derive.patterns import check_pattern; "
        "check_pattern('(a)', 1); sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20), st.integers(2, 50))
def test_a_hash_is_a_stable_bucket(values: list[str], n: int) -> None:
    found = hashed(pd.Series(values, dtype=object), n)
    assert found.between(1, n).all()
    alone = [hashed(pd.Series([value], dtype=object), n).iloc[0] for value in values]
    assert found.tolist() == alone


def test_a_hash_is_the_same_on_every_machine() -> None:
    # By `printf a | b2sum -l 64`, least significant byte first.
    assert made("hash", {"buckets": 1000}, ["a", None, "b", "a"]) == [929, None, 669, 929]
    assert made("hash", {"buckets": 1000}, [7, 7]) == made("hash", {"buckets": 1000}, ["7", 7.0])


def test_hashes_fill_all_buckets_alike() -> None:
    sizes = hashed(pd.Series(range(10_000)), 10).value_counts()
    assert sizes.min() > 900
    assert sizes.max() < 1100


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("prefix", {"length": 0}, "greater than 0"),
        ("prefix", {}, "Field required"),
        ("split", {"separator": ""}, "at least 1 character"),
        ("hash", {"buckets": 1}, "greater than or equal to 2"),
        ("regex", {"pattern": "(a"}, r"as RE2 takes them, got '\(a': missing \)"),
        ("regex", {"pattern": "a)(b"}, "as RE2 takes them"),
        ("regex", {"pattern": r"(a)\1"}, "look-around and backreferences are not supported"),
        ("regex", {"pattern": "(?=a)"}, "look-around and backreferences are not supported"),
        ("regex", {"pattern": "(a{1000}){1000}"}, "as RE2 takes them"),
        ("regex", {"pattern": r"\Qa"}, r"\\Q is not supported"),
        ("regex", {"pattern": "a"}, "'a' has no group 1; put the part to keep in parentheses"),
        ("regex", {"pattern": "(a)", "group": 2}, "has no group 2"),
        ("regex", {"pattern": "(a)", "group": 9}, "less than or equal to 8"),
        ("regex", {"pattern": "a" * 201, "group": 0}, "at most 200 characters"),
    ],
)
def test_refused_options(kind: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(KINDS[kind].options, {"from": "x", **given})


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_one(kind: str) -> None:
    definition = KINDS[kind]
    ((name, component),) = yaml.safe_load(definition.example).items()
    found = name_and_options(component)
    assert found is not None
    assert found[0] == kind
    given = found[1] if isinstance(found[1], dict) else {} if found[1] is None else {"": found[1]}
    options = parse_options(definition.options, given)
    assert all(isinstance(source, str) for source in definition.sources(name, options))


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_says_what_it_is(kind: str) -> None:
    for field in KINDS[kind].options.model_fields.values():
        assert field.description
