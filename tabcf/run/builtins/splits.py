"""The built-in splits and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from tabcf.contracts.definitions import SplitDefinition
from tabcf.contracts.options import Options
from tabcf.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["PART_COLUMN", "SPLITS", "FilesOptions"]

# Says of each row which file it came from: train, valid or test.
PART_COLUMN = "tabcf:part"

_Share = Annotated[float, Field(ge=0, lt=1)]


class Shares(Options):
    """Shares of the rows that validate and test."""

    valid: _Share = 0.1
    """Share of all rows that validates; 0 for none."""
    test: _Share = 0.1
    """Share of all rows that tests; 0 for none."""


class StratifiedOptions(Shares):
    """Shares, the same within each value of a column."""

    by: str | None = None
    """The column; by default the target."""


class TimeOptions(Shares):
    """The newest rows test, those before them validate."""

    shorthand: ClassVar[str | None] = "column"

    column: str = "timestamp"
    """The column of times."""


class LeaveLastOutOptions(Options):
    """Each user's last events."""

    column: str = "timestamp"
    """The column of times."""
    valid: Annotated[int, Field(ge=0)] = 1
    """How many events of each user validate, those before the test ones."""
    test: PositiveInt = 1
    """How many of each user's last events test."""


class KFoldOptions(Options):
    """K folds, each of which tests once, or one of them."""

    shorthand: ClassVar[str | None] = "k"

    k: Annotated[int, Field(ge=2)] = 5
    """Number of folds."""
    fold: PositiveInt | None = None
    """The one fold that tests, from 1; by default each of them in turn: cross-validation."""
    valid: _Share = 0.1
    """Share of the other rows that validates; with `by`, of the other ids."""
    by: str | None = None
    """What stays in one fold together: `user`, `item`, or a column such as a session's; by default
    each row is on its own."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Which rows are a fold; by default as the spec's seed has it."""

    @model_validator(mode="after")
    def _one_of_k(self) -> KFoldOptions:
        if self.fold is not None and self.fold > self.k:
            raise ValueError(f"expected a fold from 1 to {self.k}, got {self.fold}")
        return self


class OfficialOptions(Options):
    """A fold that a data set's authors published."""

    shorthand: ClassVar[str | None] = "fold"

    fold: Literal["u1", "u2", "u3", "u4", "u5", "all"]
    """MovieLens-100K's folds: u1 tests on the first 20,000 rows, u2 on the next, and so on; `all`
    is each of them in turn: cross-validation."""
    valid: _Share = 0.0
    """Share of the training rows that validates."""


class LabelsOptions(Options):
    """A column says which part a row belongs to."""

    shorthand: ClassVar[str | None] = "column"

    column: str
    """A column with the values train, valid and test."""


class FilesOptions(Options):
    """Parts that come in files of their own."""

    valid: str | None = None
    """Where the validation rows are; a file, a glob or `builtin:NAME/TABLE`, as for `data`."""
    test: str | None = None
    """Where the test rows are."""


class ColdOptions(Shares):
    """Whole users or items that training never sees."""

    shorthand: ClassVar[str | None] = "side"

    side: Literal["user", "item", "both"] = "user"
    """Who is new: shares are of their ids, and all rows of an id are held out."""
    given: Annotated[int, Field(ge=0)] = 0
    """How many events of each one who tests are told, to fold them in; they are not scored."""
    by: str | None = None
    """The column of times that says which events come first and are given; at random without."""


_Frame = Any
_Roles = dict[str, str]


def _random(events: _Frame, roles: _Roles, o: Shares, rng: np.random.Generator) -> np.ndarray:
    from tabcf.data.splits import random_split

    return random_split(events, valid=o.valid, test=o.test, rng=rng)


def _stratified(
    events: pd.DataFrame, roles: _Roles, o: StratifiedOptions, rng: np.random.Generator
) -> np.ndarray:
    from tabcf.data.splits import stratified_split

    by = o.by or roles.get("target")
    if by is None:
        raise DataError("split.stratified: expected `by`, the column to stratify by")
    return stratified_split(events, by=by, valid=o.valid, test=o.test, rng=rng)


def _time(events: _Frame, roles: _Roles, o: TimeOptions, rng: np.random.Generator) -> np.ndarray:
    from tabcf.data.splits import time_split

    return time_split(events, column=o.column, valid=o.valid, test=o.test)


def _leave_last_out(
    events: pd.DataFrame, roles: _Roles, o: LeaveLastOutOptions, rng: np.random.Generator
) -> np.ndarray:
    from tabcf.data.splits import leave_last_out_split

    user = _role(roles, "user", "leave_last_out")
    return leave_last_out_split(events, user=user, time=o.column, n_valid=o.valid, n_test=o.test)


def _kfold(events: _Frame, roles: _Roles, o: KFoldOptions, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    from tabcf.data.splits import kfold_split

    return kfold_split(
        events,
        k=o.k,
        fold=o.fold or 1,
        valid=o.valid,
        rng=rng if o.seed is None else np.random.default_rng(o.seed),
        by=None if o.by is None else roles.get(o.by, o.by),
    )


def _kfolds(o: KFoldOptions) -> dict[str, dict[str, Any]]:
    if o.fold is not None:
        return {}
    return {
        str(fold): {**o.model_dump(exclude_unset=True), "fold": fold} for fold in range(1, o.k + 1)
    }


def _official(
    events: pd.DataFrame, roles: _Roles, o: OfficialOptions, rng: np.random.Generator
) -> np.ndarray:
    from tabcf.data.splits import official_split

    return official_split(events, fold="u1" if o.fold == "all" else o.fold, valid=o.valid, rng=rng)


def _officials(o: OfficialOptions) -> dict[str, dict[str, Any]]:
    if o.fold != "all":
        return {}
    return {
        f"u{number}": {**o.model_dump(exclude_unset=True), "fold": f"u{number}"}
        for number in range(1, 6)
    }


def _labels(
    events: pd.DataFrame, roles: _Roles, o: LabelsOptions, rng: np.random.Generator
) -> np.ndarray:
    from tabcf.data.splits import labels_split

    return labels_split(events, column=o.column)


def _files(events: _Frame, roles: _Roles, o: FilesOptions, rng: np.random.Generator) -> np.ndarray:
    from tabcf.data.splits import labels_split

    return labels_split(events, column=PART_COLUMN)


def _cold(events: _Frame, roles: _Roles, o: ColdOptions, rng: np.random.Generator) -> np.ndarray:
    from tabcf.data.cold_split import cold_split

    if o.by is not None and not o.given:
        raise DataError("split.cold: `by` says which events are given; expected `given` with it")
    sides = ("user", "item") if o.side == "both" else (o.side,)
    return cold_split(
        events,
        columns=[_role(roles, side, "cold") for side in sides],
        valid=o.valid,
        test=o.test,
        n_given=o.given,
        by=o.by,
        rng=rng,
    )


def _role(roles: _Roles, role: str, split: str) -> str:
    if role not in roles:
        raise DataError(f"split.{split}: needs the entity '{role}', which the spec does not have")
    return roles[role]


def _nothing(o: Options) -> tuple[str, ...]:
    return ()


def _by(o: StratifiedOptions | KFoldOptions | ColdOptions) -> tuple[str, ...]:
    return () if o.by is None else (o.by,)


def _column(o: TimeOptions | LeaveLastOutOptions | LabelsOptions) -> tuple[str, ...]:
    return (o.column,)


SPLITS = (
    SplitDefinition(
        name="random",
        example="{random: {valid: 0.1, test: 0.1}}",
        options=Shares,
        summary="Rows at random.",
        assign=_random,
        reads=_nothing,
    ),
    SplitDefinition(
        name="stratified",
        example="{stratified: {test: 0.2}}",
        options=StratifiedOptions,
        summary="Rows at random, with equal shares of each value of a column.",
        assign=_stratified,
        reads=_by,
    ),
    SplitDefinition(
        name="time",
        example="{time: timestamp}",
        options=TimeOptions,
        summary="The newest rows test: what a model meets once it is in use.",
        assign=_time,
        reads=_column,
    ),
    SplitDefinition(
        name="leave_last_out",
        example="{leave_last_out: {column: timestamp}}",
        options=LeaveLastOutOptions,
        summary="Each user's last events test.",
        assign=_leave_last_out,
        reads=_column,
    ),
    SplitDefinition(
        name="kfold",
        example="{kfold: {k: 5}}",
        options=KFoldOptions,
        summary="Cross-validation: each of k random folds tests once; or one of them alone.",
        assign=_kfold,
        reads=_by,
        folds=_kfolds,
    ),
    SplitDefinition(
        name="official",
        example="{official: u1}",
        options=OfficialOptions,
        summary="A published fold of MovieLens-100K, or all five.",
        assign=_official,
        reads=_nothing,
        folds=_officials,
    ),
    SplitDefinition(
        name="labels",
        example="{labels: part}",
        options=LabelsOptions,
        summary="A column says train, valid or test.",
        assign=_labels,
        reads=_column,
    ),
    SplitDefinition(
        name="files",
        example="{files: {valid: valid.csv, test: test.csv}}",
        options=FilesOptions,
        summary="Validation and test rows come in files of their own.",
        assign=_files,
        reads=_nothing,
    ),
    SplitDefinition(
        name="cold",
        example="{cold: {side: user, given: 5, by: timestamp}}",
        options=ColdOptions,
        summary="Users, items or both whom training never sees, with the first events or none.",
        assign=_cold,
        reads=_by,
    ),
)
