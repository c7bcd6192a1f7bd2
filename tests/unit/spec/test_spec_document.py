"""YAML becomes plain values with places; what could do harm is refused at once."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tabcf.errors import SpecError
from tabcf.spec import document
from tabcf.spec.document import parse_document
from tabcf.spec.marks import Mark
from tabcf.spec.scalars import read_scalar


@pytest.fixture(params=["SafeLoader", "CSafeLoader"])
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers: libyaml's, and PyYAML's own where libyaml is missing."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML comes without libyaml here")
    monkeypatch.setattr(document, "_LOADER", getattr(yaml, request.param))


def _tree(text: str) -> Any:
    return parse_document(text, "a.yaml").tree


def _refused(text: str) -> str:
    with pytest.raises(SpecError, match=r"\Aa\.yaml") as caught:
        parse_document(text, "a.yaml")
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nil", "nil"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("2e-2", 0.02),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+3", -1500.0),
        ("010.5", "010.5"),
        (".", "."),
        ("-", "-"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("9" * 301, "9" * 301),
    ],
)
def test_a_word_means_what_it_looks_like(word: str, value: Any) -> None:
    found = read_scalar(word)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(read_scalar(".nan"))


@pytest.mark.usefixtures("_loader")
class TestValues:
    def test_quoted_words_and_blocks_are_text(self) -> None:
        text = "a: '1'\nb: \"true\"\nc: |\n  2\nd: !!str 3\ne: ! 4\n"
        assert _tree(text) == {"a": "1", "b": "true", "c": "2\n", "d": "3", "e": "4"}

    def test_yamls_own_tags_are_taken_at_their_word(self) -> None:
        text = (
            "{a: !!int '5', b: !!float 1, c: !!bool 'true', d: !!map {x: !!seq [1]}, e: !!null ~}"
        )
        tree = _tree(text)
        assert tree == {"a": 5, "b": 1.0, "c": True, "d": {"x": [1]}, "e": None}
        assert type(tree["b"]) is float

    @pytest.mark.parametrize("text", ["!!int five", "!!bool 1", "!!map [a]", "!!float x"])
    def test_a_tag_that_does_not_fit_is_refused(self, text: str) -> None:
        assert " does not fit the value" in _refused(f"a: {text}")

    def test_keys_are_text_as_written(self) -> None:
        assert _tree("{1: a, true: b, ~: c, 2e-2: d}") == {
            "1": "a",
            "true": "b",
            "~": "c",
            "2e-2": "d",
        }

    def test_places_of_values_and_keys(self) -> None:
        read = parse_document("a: 1\nb:\n  - x\n  - {c: y}\n", "a.yaml")
        assert read.values["a",] == Mark(1, 4)
        assert read.values["b", 1, "c"] == Mark(4, 9)
        assert read.keys["b", 1, "c"] == Mark(4, 6)
        assert read.keys["b",] == Mark(2, 1)

    def test_columns_count_characters(self) -> None:
        assert parse_document("naïve: {é: 1}", "a.yaml").values["naïve", "é"] == Mark(1, 12)

    def test_an_alias_stands_for_its_value(self) -> None:
        read = parse_document("a: &x {b: [1]}\nc: *x\nd: &n name\n*n : 2\n", "a.yaml")
        assert read.tree == {"a": {"b": [1]}, "c": {"b": [1]}, "d": "name", "name": 2}
        assert read.values["c",] == Mark(2, 4)

    def test_a_key_given_twice_is_kept_once_and_told(self) -> None:
        read = parse_document("a: {b: 1}\nc: 2\na: {b: 3, d: 4}\n", "a.yaml")
        assert read.tree == {"a": {"b": 1}, "c": 2}
        assert read.repeated == ((("a",), Mark(1, 1), Mark(3, 1)),)
        assert read.values["a", "b"] == Mark(1, 8)

    def test_nothing_is_nothing(self) -> None:
        assert _tree("") is None
        assert _tree("# only a comment\n") is None


@pytest.mark.usefixtures("_loader")
class TestHarm:
    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system",
            "!!python/name:os.system",
            "!!python/module:os",
            "!!binary",
            "!!set",
            "!!timestamp",
            "!ruby/object:Gem",
        ],
    )
    @pytest.mark.parametrize("value", ["[ls]", "{a: b}", "ls"])
    def test_a_tag_is_refused(self, tag: str, value: str) -> None:
        assert _refused(f"a: {tag} {value}") == (
            f"a.yaml:1:4: the tag {tag} is not allowed; write plain values"
        )

    def test_a_tag_on_a_key_is_refused(self) -> None:
        assert "the tag !!python/name:os is not allowed" in _refused("!!python/name:os a: 1")

    def test_a_billion_laughs(self) -> None:
        lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
        for i in range(1, 10):
            lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
        assert _refused("\n".join(lines)).endswith(
            "expected at most 50,000 values, what aliases repeat included"
        )

    def test_nesting_built_of_aliases(self) -> None:
        lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 40))]
        assert _refused("\n".join(lines)).endswith("expected at most 30 levels of nesting")

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "[{a: "])
    def test_deep_nesting(self, opening: str) -> None:
        problem = _refused(opening * 20_000)
        assert problem.endswith("expected at most 30 levels of nesting")

    def test_thirty_levels_are_fine(self) -> None:
        assert _tree("[" * 30 + "]" * 30) is not None
        assert _refused("[" * 31 + "]" * 31).endswith("expected at most 30 levels of nesting")

    def test_too_many_values(self) -> None:
        assert _refused("- 1\n" * 50_001).endswith(
            "expected at most 50,000 values, what aliases repeat included"
        )

    def test_too_many_characters(self) -> None:
        assert (
            _refused("#" * 1_000_001) == "a.yaml: expected at most 1,000,000 bytes; is it a spec?"
        )

    def test_a_value_inside_itself(self) -> None:
        assert _refused("a: &x {b: *x}") == (
            "a.yaml:1:11: *x stands inside the value that it repeats"
        )

    @given(
        st.text(alphabet=st.sampled_from("ab1:-?,[]{}#&*!|>'\"%@` \n\t~<.é\x00\x85"), max_size=60)
    )
    def test_any_text_is_read_or_refused_in_one_line(self, text: str) -> None:
        try:
            parse_document(text, "a.yaml")
        except SpecError as error:
            (problem,) = error.problems
            assert problem.startswith("a.yaml")
            assert len(problem.splitlines()) == 1


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_PLAIN)
def test_json_reads_as_itself(value: Any) -> None:
    """All of JSON is YAML, and nothing in it changes its kind."""
    assert _tree(json.dumps(value, ensure_ascii=False)) == value
