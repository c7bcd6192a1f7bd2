"""The reference page has every field and every component, as the records say them."""

from __future__ import annotations

import pytest

from tabcf.errors import SpecError
from tabcf.plugin.registry import KINDS, Registry
from tabcf.run.builtins import builtin_registry
from tabcf.spec.components import Place, components, name_and_options
from tabcf.spec.document import parse_document
from tabcf.spec.options import component_problems
from tabcf.spec.records import (
    EarlyStopping,
    Entity,
    Implicit,
    Retrieve,
    Spec,
    Target,
    Train,
)
from tabcf.spec.reference import component_text, example_of, reference_page


@pytest.fixture
def page(registry: Registry) -> str:
    return reference_page(registry)


@pytest.mark.parametrize("record", [Spec, Target, Implicit, Entity, Train, EarlyStopping, Retrieve])
def test_every_field_has_a_row_with_its_docstring(record: type[Spec], page: str) -> None:
    for name, field in record.model_fields.items():
        assert field.description, f"{record.__name__}.{name} has no docstring"
        meaning = " ".join(field.description.split())
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert any(row.endswith(f"| {meaning} |") for row in rows), name


def test_every_component_has_a_section(page: str, registry: Registry) -> None:
    for kind in KINDS:
        for name in registry.names(kind):
            assert f"### `{name}`\n\n{registry.get(kind, name).summary}\n" in page


@pytest.mark.parametrize(
    "row",
    [
        "| `epochs` | positive integer | `5` | Passes over the training rows; each row once a "
        "pass, in a new order. "
        "Left out they follow from the model: 3 with `embedding_nn`, 5 with others. |",
        "| `from` | text | required | The column of dates. |",
        "| `fold` | one of u1, u2, u3, u4, u5 | required | Which fold. |",
        "| `layers` | list of positive integers | `[200, 100]` | Hidden layers' widths. |",
        "| `separator` | non-empty text | `\\|` | What stands between two values. |",
        "| `schedule` | component | `one_cycle` | How the learning rate runs over the training. |",
        "| `widths` | positive integer or mapping of names to positive integers | none | Width of "
        "all embeddings, or of each column's. |",
    ],
)
def test_a_row(row: str, page: str) -> None:
    assert row in page.splitlines()


def test_shorthands_are_told(page: str) -> None:
    assert "Shorthand: `official: …` fills `fold`." in page
    assert "Shorthand: `target: …` fills `column`." in page


def test_a_component_without_options_says_so(page: str) -> None:
    assert "### `mse`\n\nThe loss mse.\n\nNo options.\n" in page


def test_tables_are_whole(page: str) -> None:
    """Each row of a table has four cells; a bar inside a cell is escaped."""
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 5, line


def test_the_example_of_every_builtin_component_is_right() -> None:
    """As the reference shows it: below the component's key, in a spec."""
    registry = builtin_registry()
    for kind, registered in registry:
        example = example_of(kind, registered.definition)
        tree = parse_document(example, "example").tree
        if kind == "selector":  # it stands in no spec
            place = Place(kind, (), *name_and_options(tree))
        else:
            (place,) = components({"columns": tree} if kind == "column" else tree)
        assert place.kind == kind
        assert place.name == registered.definition.name
        assert [*component_problems(place, registry)] == [], example


def test_a_terminal_shows_every_component() -> None:
    registry = builtin_registry()
    for kind, registered in registry:
        text = component_text(registry, registered.definition.name)
        assert f"{kind} {registered.definition.name} (built in)" in text
        assert registered.definition.summary in text
        assert "example:" in text
    with pytest.raises(SpecError, match="no component named 'hubr'; did you mean 'huber'"):
        component_text(registry, "hubr")
