"""The pytest plugin that comes with tabcf: fixtures for tests of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pandas as pd

    from tabcf.plugin.registry import Registry

__all__ = ["tabcf_ratings", "tabcf_registry", "tabcf_table"]

for _name in ("columns", "losses", "metrics", "models"):
    pytest.register_assert_rewrite(f"tabcf.testing.{_name}")


@pytest.fixture
def tabcf_registry() -> Registry:
    """A new registry with the built-in components and no plugin, installed ones left out."""
    from tabcf.run.registry import compose_registry

    return compose_registry(["no:*"])


@pytest.fixture
def tabcf_ratings() -> pd.DataFrame:
    """The checkerboard of likes, `tabcf.testing.tiny_ratings()`."""
    from tabcf.testing.data import tiny_ratings

    return tiny_ratings()


@pytest.fixture
def tabcf_table() -> pd.DataFrame:
    """The plain table, `tabcf.testing.tiny_table()`."""
    from tabcf.testing.data import tiny_table

    return tiny_table()
