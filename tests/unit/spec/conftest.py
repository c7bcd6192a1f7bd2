"""A registry of small components, near to the real ones, for the tests of the spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import (
    ColumnDefinition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
    ScheduleDefinition,
    SplitDefinition,
    UnknownDefinition,
)
from tabcf.contracts.options import FromColumn, ModelOptions, NoOptions, Options
from tabcf.plugin.registry import Registry
from tabcf.run.builtins.engines import ENGINES

Share = Annotated[float, Field(ge=0, lt=1)]

MOVIES = """\
tabcf: 1
data: ratings.csv
target: {column: rating, levels: [1, 2, 3, 4, 5]}
entities:
  user:
    id: user_id
    table: users.csv
    columns: {gender: category, age: number}
  item:
    id: item_id
    table: items.csv
    label: title
    columns: {year: number, genres: {set: {separator: "|"}}}
columns:
  weekday: {date_part: {from: timestamp, part: weekday}}
model: {embedding_nn: {layers: [100, 50], widths: {user: 74, item: 102}, y_range: [0, 5.5]}}
loss: mse
split: {random: {valid: 0.1, test: 0.1}}
train: {epochs: 5, batch_size: 512, learning_rate: 2e-2, weight_decay: 0.1}
seed: 42
"""


class MLP(ModelOptions):
    """A network."""

    layers: tuple[PositiveInt, ...] = (200, 100)
    """Hidden layers' widths."""
    widths: PositiveInt | Mapping[str, PositiveInt] | None = None
    """Width of all embeddings, or of each column's."""
    dropout: Share = 0.0
    """Share of hidden units dropped."""


class Factors(ModelOptions):
    """Products."""

    shorthand: ClassVar[str | None] = "factors"

    factors: PositiveInt = 50
    """Width of all vectors."""


class Ease(Options):
    """Ridge regression."""

    shorthand: ClassVar[str | None] = "l2"

    l2: float = Field(default=200.0, gt=0)
    """Ridge penalty."""


class Huber(Options):
    """Squared near zero."""

    shorthand: ClassVar[str | None] = "delta"

    delta: float = Field(default=1.0, gt=0)
    """Where it turns straight."""


class Shares(Options):
    """Shares of the rows."""

    valid: Share = 0.1
    """Share that validates."""
    test: Share = 0.1
    """Share that tests."""


class Official(Options):
    """A published fold."""

    shorthand: ClassVar[str | None] = "fold"

    fold: Literal["u1", "u2", "u3", "u4", "u5"]
    """Which fold."""
    valid: Share = 0.0
    """Share of the training rows that validates."""


class Time(Shares):
    """The newest rows test."""

    column: str = "timestamp"
    """The column of times."""


class SetOf(FromColumn):
    """Several values a row."""

    separator: str = Field(default="|", min_length=1)
    """What stands between two values."""


class DatePart(Options):
    """A part of a date."""

    from_: str = Field(alias="from")
    """The column of dates."""
    part: Literal["hour", "weekday", "month"]
    """Which part."""


class AtK(Options):
    """Looks at the first k."""

    shorthand: ClassVar[str | None] = "k"

    k: PositiveInt = 10
    """Length of the list."""


class Masked(Options):
    """Trained by hiding values."""

    shorthand: ClassVar[str | None] = "rate"

    rate: Share = 0.02
    """Share of values hidden."""


class Cosine(Options):
    """Down by a half cosine."""

    warmup: Share = 0.0
    """Share of the training in which the rate rises."""


def _not_built(*_: Any) -> Any:
    raise AssertionError("reading a spec builds nothing")


_PAIR = frozenset({"user", "item"})
_NUMBERS = frozenset({"regression", "rating"})
_ALL = frozenset({"regression", "rating", "binary", "classes", "implicit"})


def _model(name: str, options: type[Options], **more: Any) -> ModelDefinition:
    return ModelDefinition(
        name=name, options=options, summary=f"The model {name}.", build=_not_built, **more
    )


def _loss(name: str, options: type[Options], *targets: Any, form: Any = "pointwise") -> Any:
    return LossDefinition(
        name=name,
        options=options,
        summary=f"The loss {name}.",
        targets=frozenset(targets),
        build=_not_built,
        form=form,
    )


def _metric(name: str, options: type[Options], targets: Any, *, is_ranking: bool) -> Any:
    return MetricDefinition(
        name=name,
        options=options,
        summary=f"The metric {name}.",
        targets=targets,
        build=_not_built,
        is_ranking=is_ranking,
    )


def _column(
    name: Literal["category", "number", "set", "date_part"], options: type[Options]
) -> ColumnDefinition:
    return ColumnDefinition(
        name=name,
        options=options,
        summary=f"The column {name}.",
        output="category" if name == "date_part" else name,
        sources=lambda column, given: (given.from_ or column,),
        apply=_not_built,
    )


def _split(name: str, options: type[Options]) -> SplitDefinition:
    return SplitDefinition(
        name=name, options=options, summary=f"The split {name}.", assign=_not_built
    )


def _schedule(name: str, options: type[Options]) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=name, options=options, summary=f"The schedule {name}.", build=_not_built
    )


def _registry() -> Registry:
    registry = Registry()
    registry.add(
        [
            _model("embedding_nn", MLP, targets=_ALL, needs=_PAIR),
            _model("tabular", MLP, targets=_ALL - {"implicit"}),
            _model(
                "dot_product_bias",
                Factors,
                targets=_ALL - {"classes"},
                needs=_PAIR,
                unknown="mean",
                is_single_output=True,
            ),
            _model(
                "ease",
                Ease,
                targets=frozenset({"implicit"}),
                needs=_PAIR,
                solve=_not_built,
                is_single_output=True,
            ),
            _loss("mse", NoOptions, *_NUMBERS),
            _loss("mae", NoOptions, *_NUMBERS),
            _loss("huber", Huber, *_NUMBERS),
            _loss("bce", NoOptions, "binary"),
            _loss("cross_entropy", NoOptions, "binary", "classes", "rating"),
            _loss("softmax", NoOptions, "implicit", form="catalogue"),
            _metric("rmse", NoOptions, _NUMBERS, is_ranking=False),
            _metric("mae", NoOptions, _NUMBERS, is_ranking=False),
            _metric("ndcg", AtK, _ALL - {"classes"}, is_ranking=True),
            _metric("recall", AtK, _ALL - {"classes"}, is_ranking=True),
            _column("category", FromColumn),
            _column("number", FromColumn),
            _column("set", SetOf),
            _column("date_part", DatePart),
            _split("random", Shares),
            _split("official", Official),
            _split("time", Time),
            *ENGINES,
            _schedule("one_cycle", NoOptions),
            _schedule("cosine", Cosine),
            _schedule("constant", NoOptions),
            UnknownDefinition(name="mean", options=NoOptions, summary="The mean row."),
            UnknownDefinition(name="masked", options=Masked, summary="A trained row."),
        ],
        origin="tabcf",
    )
    return registry


@pytest.fixture
def registry() -> Registry:
    """Four models, six losses, and what goes with them."""
    return _registry()


@pytest.fixture
def movies() -> str:
    """A whole spec, line by line as the README shows it."""
    return MOVIES


@pytest.fixture
def write_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a spec into the working folder; messages then call it `movies.yaml`."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("movies.yaml").write_text(text, encoding="utf-8")
        return "movies.yaml"

    return write
