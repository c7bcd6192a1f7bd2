"""The built-in column kinds: as given, and derived from other columns."""

from __future__ import annotations

from tabcf.run.builtins.columns.given import GIVEN
from tabcf.run.builtins.columns.history import HISTORY
from tabcf.run.builtins.columns.texts import TEXTS
from tabcf.run.builtins.columns.times import TIMES
from tabcf.run.builtins.columns.values import VALUES

__all__ = ["COLUMNS"]

COLUMNS = (*GIVEN, *TIMES, *VALUES, *TEXTS, *HISTORY)
