"""What components are called: built-in ones, and plugins' in full and bare."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.definitions import CommandDefinition, LossDefinition
from tabcf.contracts.options import NoOptions
from tabcf.errors import PluginError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.run.registry import compose_registry
from tabcf.spec.records import Component


def _never(*_: Any) -> Any:
    raise AssertionError("nothing is built here")


def loss(name: str) -> LossDefinition:
    return LossDefinition(
        name=name, options=NoOptions, summary="", targets=frozenset({"rating"}), build=_never
    )


def registry_of(plugins: dict[str, list[str]], builtin: list[str] | None = None) -> Registry:
    registry = Registry()
    registry.add([loss(name) for name in builtin or ["mse"]], origin="tabcf")
    for plugin, names in plugins.items():
        registry.add([loss(name) for name in names], origin=f"{plugin} 1", plugin=plugin)
    return registry


_PLUGINS = st.dictionaries(
    st.sampled_from(["a", "b", "ab", "c-d"]),
    st.lists(st.sampled_from(["x", "y", "b", "xy", "long_name"]), unique=True),
)


@given(_PLUGINS)
def test_every_component_has_a_name_that_means_it_and_nothing_else(
    plugins: dict[str, list[str]],
) -> None:
    registry = registry_of(plugins)
    full = {f"{plugin}/{name}" for plugin, names in plugins.items() for name in names}
    assert set(registry.full_names("loss")) == full | {"mse"}
    names = registry.names("loss")
    assert len(set(names)) == len(names) == len(full) + 1
    assert {registry.full_name("loss", name) for name in names} == full | {"mse"}
    for name in full:
        assert registry.full_name("loss", name) == name
        bare = name.rpartition("/")[2]
        alike = [other for other in full if other.rpartition("/")[2] == bare]
        assert registry.has("loss", bare) == (len(alike) == 1) == (bare in names)
        # A plugin's own name is never in doubt within it.
        assert registry.full_name("loss", bare, scope=name.partition("/")[0]) == name


@given(_PLUGINS, _PLUGINS)
def test_names_do_not_depend_on_the_order_of_plugins(
    first: dict[str, list[str]], second: dict[str, list[str]]
) -> None:
    others = {name: found for name, found in second.items() if name not in first}
    one, two = registry_of({**first, **others}), registry_of({**others, **first})
    assert one.names("loss") == two.names("loss")
    assert one.full_names("loss") == two.full_names("loss")
    assert one.unknown_name("loss", "zz") == two.unknown_name("loss", "zz")


def test_an_ambiguous_name_names_both() -> None:
    registry = registry_of({"dusk": ["x"], "dawn": ["x", "y"]})
    with pytest.raises(SpecError) as caught:
        registry.get("loss", "x")
    assert str(caught.value) == (
        "loss 'x' is of several plugins, dawn 1 and dusk 1; write dawn/x or dusk/x"
    )
    assert registry.names("loss") == ["dawn/x", "dusk/x", "mse", "y"]


def test_an_unknown_name_is_told_the_nearest_in_full_or_bare() -> None:
    registry = registry_of({"dusk": ["glow"], "dawn": ["glow", "mist"]})
    assert registry.unknown_name("loss", "dusk/glo") == (
        "no loss named 'dusk/glo'; did you mean 'dusk/glow'? known: dawn/glow, dusk/glow, mist, mse"
    )
    assert "did you mean 'mist'?" in registry.unknown_name("loss", "misst")
    assert "did you mean 'dawn/mist'?" in registry.unknown_name("loss", "dawn/misst")
    registry.set_aside("night", "plugin night 1 cannot be imported: ValueError: no")
    assert registry.unknown_name("loss", "qqq").endswith(
        "mse; plugin night 1 cannot be imported: ValueError: no"
    )


@pytest.mark.parametrize("names", [["new", "mse"], ["new", "new"]])
def test_a_plugin_is_registered_whole_or_not_at_all(names: list[str]) -> None:
    registry = registry_of({})
    with pytest.raises(PluginError, match=rf"^loss '.*{names[-1]}' is registered by both .* dusk"):
        registry.add([loss(name) for name in names], origin="dusk", plugin="dusk")
    assert registry.full_names("loss") == ["mse"]
    part = {"loss": {"mild": ("mse", {}), "mse": ("mse", {})}}
    with pytest.raises(PluginError, match=r"^loss 'mse' is registered by both tabcf and dusk; re"):
        registry.add_parts("dusk", origin="dusk", parts=part, entities={}, folder=None)
    assert registry.full_names("loss") == ["mse"]


def test_a_command_has_one_owner() -> None:
    command = CommandDefinition(name="dim", summary="", build=_never)
    registry = registry_of({})
    registry.add([command], origin="dusk 1", plugin="dusk")
    with pytest.raises(
        PluginError, match=r"^command 'dim' is registered by both dusk 1 and dawn 2"
    ):
        registry.add([loss("lit"), command], origin="dawn 2", plugin="dawn")
    assert registry.full_names("loss") == ["mse"]
    assert registry.added_by("dusk") == ("command dim",)


def test_a_copy_can_be_filled_alone() -> None:
    registry = registry_of({"dusk": ["x"]})
    copied = registry.copy()
    copied.add([loss("y")], origin="dawn", plugin="dawn")
    copied.set_aside("night", "broken")
    copied.plugins["dawn"] = object()
    assert registry.full_names("loss") == ["dusk/x", "mse"]
    assert registry.broken == {}
    assert registry.plugins == {}


def test_parts_stand_for_components_with_their_options() -> None:
    registry = compose_registry(["no:*"])
    registry.add_parts(
        "dusk",
        origin="dusk 1",
        parts={"loss": {"soft": ("huber", {"delta": 0.5}), "same": ("soft", {})}},
        entities={},
        folder=None,
    )
    for name in ("soft", "dusk/soft", "same"):
        found = registry.resolve("loss", Component.model_validate(name))
        assert (found.definition.name, found.options.delta) == ("huber", 0.5)
        assert (found.scope, found.part) == ("dusk", "dusk/soft")
    own = registry.resolve("loss", Component.model_validate("huber"))
    assert (own.scope, own.part, own.options.delta) == ("", "", 1.0)
    with pytest.raises(ValueError, match=r"^dusk/soft takes no options; the plugin has set them$"):
        registry.resolve("loss", Component(name="soft", options={"delta": 2}))
    assert registry.added_by("dusk") == ("loss same", "loss soft")


def test_columns_of_an_entity_are_parts_that_nobody_lists() -> None:
    registry = compose_registry(["no:*"])
    before = registry.names("column")
    registry.add_parts(
        "dusk",
        origin="dusk 1",
        parts={"column": {"shop.size": ("number", {})}},
        entities={"shop": {"id": "shop_id", "columns": {"size": "dusk/shop.size"}}},
        folder=None,
    )
    assert registry.has("column", "dusk/shop.size")
    assert registry.names("column") == before
    assert registry.full_names("column") == before
    assert registry.added_by("dusk") == ("entity shop",)
