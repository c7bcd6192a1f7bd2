"""The records of a spec; every field's docstring is its line in the reference page.

A component is a bare name or a mapping with one key: `mse`, `{huber: {delta: 0.5}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tabcf.contracts.options import Options
from tabcf.spec.event_weights import ItemPropensity, TimeDecay, UserWeights
from tabcf.spec.memory import Budget, Shuffle
from tabcf.spec.tune import Tune
from tabcf.spec.wording import describe

__all__ = [
    "Averaging",
    "Checkpoint",
    "Component",
    "EarlyStopping",
    "Entity",
    "Implicit",
    "Retrieve",
    "Rows",
    "Spec",
    "Sql",
    "Target",
    "Train",
]

_Decay = Annotated[float, Field(ge=0)]


class Component(Options):
    """A named part with its options as they were written; the registry knows their record."""

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        """Accept `name`, `{name: null}`, `{name: {…}}` and `{name: scalar}`."""
        if isinstance(value, Component):
            return {"name": value.name, "options": value.options}
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping):
            if set(value) == {"name", "options"} and isinstance(value["options"], Mapping):
                return value
            if len(value) == 1:
                name, options = next(iter(value.items()))
                if options is None:
                    options = {}
                if not isinstance(options, Mapping):
                    options = {"": options}
                return {"name": name, "options": options}
            keys = ", ".join(map(str, value)) or "none"
            raise ValueError(f"expected one name, or a mapping with one key, got the keys: {keys}")
        raise ValueError(f"expected one name, or a mapping with one key, got {describe(value)}")


class Implicit(Options):
    """What people do, without a number: an event is a positive."""

    shorthand: ClassVar[str | None] = "positive"

    positive: str | None = None
    """Which events count, such as `rating >= 4`; all of them by default."""
    weight: str | None = None
    """A column of non-negative weights."""


class Target(Options):
    """What is to be predicted."""

    shorthand: ClassVar[str | None] = "column"

    column: str | None = None
    """The column to predict."""
    columns: tuple[str, ...] | None = None
    """Several numeric columns to predict together."""
    levels: tuple[float, ...] | None = None
    """The values a rating can take, in rising order."""
    implicit: Implicit | None = None
    """Learn from events themselves: whoever did it, liked it."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        given = [self.column is not None, self.columns is not None, self.implicit is not None]
        if sum(given) != 1:
            raise ValueError("expected exactly one of column, columns and implicit")
        if self.levels is not None:
            if self.column is None:
                raise ValueError("levels go with a single column")
            if len(self.levels) < 2 or list(self.levels) != sorted(set(self.levels)):
                raise ValueError("expected at least two levels in rising order")
        return self


class Sql(Options):
    """Rows that a database gives."""

    url: str
    """Of the database, such as `sqlite:///ratings.db` or
    `postgresql+psycopg://me:${PASSWORD}@host/name`; `${NAME}` is an environment variable."""
    query: str
    """What is asked of it, such as `select user_id, item_id, rating from ratings`."""

    @field_validator("url")
    @classmethod
    def _without_password(cls, value: str) -> str:
        user_info = value.partition("://")[2].rpartition("@")[0]
        password = user_info.partition(":")[2]
        if password and not re.fullmatch(r"\$\{\w+\}", password):
            raise ValueError(
                "expected the password to come from an environment variable, such as ${PASSWORD}; "
                "a spec is kept with each run"
            )
        return value


class Rows(Options):
    """Where rows come from: a path, or a query."""

    shorthand: ClassVar[str | None] = "path"

    path: str | None = None
    """A file, a folder, a glob, or `builtin:NAME/TABLE`."""
    sql: Sql | None = None
    """A query of a database."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Rows:
        if (self.path is None) == (self.sql is None):
            raise ValueError("expected either path or sql")
        return self


class Entity(Options):
    """Users, items, or another thing that an event refers to by an id."""

    id: str
    """The column that holds its ids, in the events and in its own table."""
    table: Rows | None = None
    """Its attributes, one row an id: a file, `builtin:NAME/TABLE`, or a query."""
    label: str | None = None
    """A column of the table to show beside the id, such as a title."""
    columns: Mapping[str, Component] = Field(default_factory=dict)
    """Attributes that the model receives."""


class EarlyStopping(Options):
    """Stop when the first metric has not improved on the validation part."""

    shorthand: ClassVar[str | None] = "patience"

    patience: PositiveInt = 3
    """Epochs without improvement; the best epoch's weights are restored."""
    min_delta: float = Field(default=0.0, ge=0)
    """An improvement must be larger than this."""


class Checkpoint(Options):
    """Keep the state of the training by the way, so that a fit that was broken off can go on."""

    shorthand: ClassVar[str | None] = "minutes"

    minutes: PositiveFloat | None = 5.0
    """Keep it every so many minutes."""
    steps: PositiveInt | None = None
    """Keep it every so many steps."""
    keep: PositiveInt = 2
    """How many of the newest states stay."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Checkpoint:
        if self.minutes is None and self.steps is None:
            raise ValueError("expected minutes or steps")
        return self


class Averaging(Options):
    """Predict with the mean of the weights at the ends of the last epochs.

    Stochastic weight averaging (Izmailov et al., 2018); it steadies a rate that does not fall to 0.
    """

    shorthand: ClassVar[str | None] = "start"

    start: float = Field(default=0.5, ge=0, lt=1)
    """The share of the epochs after which averaging begins; the last epoch always counts."""


class Shard(Options):
    """What is spread over several processes, each having a part of its own."""

    rows: PositiveInt | None = None
    """Embedding tables of so many rows are; by default those whose touched rows alone are updated.
    """
    data: bool = False
    """Training rows are: each process reads some row groups, and draws its share of every batch
    from their rows. By default every process has all rows, and the losses are those of one."""


class Train(Options):
    """How the weights are learnt."""

    epochs: PositiveInt = 5
    """Passes over the training rows; each row once a pass, in a new order. Left out they follow
    from the model: 3 with `embedding_nn`, 5 with others."""
    batch_size: PositiveInt = 512
    """Rows a step (users a step with a catalogue loss)."""
    learning_rate: PositiveFloat = 5e-3
    """The schedule's peak. Left out it follows from the batch: 5e-3 times the root of
    `batch_size` / 512, and 5e-3 where a step takes users."""
    weight_decay: Annotated[
        Mapping[str, _Decay],
        BeforeValidator(
            lambda v: v if isinstance(v, Mapping) else {"default": v},
            json_schema_input_type=_Decay | Mapping[str, _Decay],
        ),
    ] = Field(default_factory=lambda: {"default": 0.01})
    """Decoupled decay, as in AdamW, of all rows at each step: one number, or a number for each
    column's embedding and `default` for all other weights."""
    decay_biases: bool = False
    """Decay biases and norms as well, as the book's own recipe does."""
    user_weights: UserWeights | None = None
    """What a user's events count; by default each event counts the same."""
    item_propensity: ItemPropensity | None = None
    """Weigh events by how unlikely their items were to be seen; by default not."""
    time_decay: TimeDecay | None = None
    """Weigh events by their age, newer ones more; by default not."""
    l2: float = Field(default=0.0, ge=0)
    """Added to the loss: `l2` times the sum of squares of the rows used by the batch, a row."""
    shuffle: Shuffle | None = None
    """How rows are put into a new order for each epoch: by chunks, or by default all together; with
    `memory` always by chunks."""
    memory: Budget | None = None
    """What the fit may take of memory, such as `2GB`: rows are then kept on disk and go through
    memory in blocks, and a fit that takes more ends with an error. By default all rows are read
    into memory."""
    schedule: Component = Component.model_validate("one_cycle")
    """How the learning rate runs over the training."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the last epoch; needs a validation part."""
    ensemble: PositiveInt = 1
    """How many models are trained, from other random weights each; what they say is averaged."""
    average: Averaging | None = None
    """Predict with the mean of the weights at the ends of the last epochs; by default those of the
    last epoch alone."""
    clip_norm: PositiveFloat | None = None
    """Scale gradients down to this norm."""
    refit: bool = False
    """Train again on training and validation rows for the chosen number of epochs."""
    engine: Component = Component.model_validate("auto")
    """How steps are taken: `fused`, with a backward pass written by hand, for dot products of two
    ids, or `eager`, by autograd, for everything; `auto` is `fused` wherever that can be. A plugin's
    may start the `workers` elsewhere."""
    update: Literal["auto", "dense", "replay", "lazy", "adagrad"] = "auto"
    """How embedding tables are updated: `dense`, all rows at each step, or only the rows that the
    step used: `replay` makes up for the steps that a row missed, `lazy` does not, `adagrad` is
    row-wise Adagrad with little memory; `auto` is `replay` for large tables and `dense` for others.
    """
    checkpoint: Checkpoint | None = Checkpoint()
    """When the state is kept from which `tabcf fit --resume` goes on; `null` for never."""
    workers: PositiveInt = 1
    """How many processes train it together, each on some rows of every batch; `tabcf fit --nproc`
    says the same. The losses are those of one process; dropout is drawn otherwise."""
    shard: Shard | None = None
    """What is spread over the `workers`: embedding tables beside those whose touched rows alone are
    updated, and the training rows."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    threads: PositiveInt | Literal["auto"] = 1
    """Threads for torch while training. More help large batches of an MLP on idle cores: `auto` is
    all cores for these and one for other steps. Weights are the same bits for the same number."""
    compile: bool = False
    """Have `torch.compile` compile forward and backward passes; the first step then takes long."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` for products of matrices in 16 bits, with weights and losses in 32."""


class Retrieve(Options):
    """The first of two stages: a model that finds items, which the spec's own puts into order.

    Both have the same data, entities, split and seed, and are fitted on the same rows.
    """

    model: Component
    """The model that finds them."""
    n: PositiveInt = 200
    """How many items it finds for each user."""
    target: Target | None = None
    """What it learns, by default the spec's target: what people do may find the items that a
    predicted rating puts into order."""
    loss: Component | None = None
    """Its loss; by default what suits its target and model."""
    negatives: Component | None = None
    """How items that a user did not choose are drawn for it; `uniform` by default."""
    unknown: Component | None = None
    """What an id without training interactions stands on in it: `mean` or `masked`."""
    columns: tuple[str, ...] | None = None
    """Which of the spec's columns it receives beside ids, such as `[user.age, weekday]`; by
    default those of users and items, and none where it is solved."""
    train: Train = Train()
    """How it is fitted. Nothing is taken over from the spec's own `train` but `device`, `threads`
    and `refit`, which has to be the same."""


class Spec(Options):
    """One model, from data to metrics, or two of them in a row."""

    tabcf: Literal[1]
    """Version of this grammar."""
    name: str | None = None
    """Name of the run; the file's name by default."""
    plugins: tuple[str, ...] = ()
    """Installed plugins that must be there, by name, and files of YAML plugins, such as
    `./nightlife.yaml`. Listing one changes nothing; naming one of its parts does."""
    data: Rows | None = None
    """The events: a file, a folder, a glob, `builtin:NAME/TABLE`, or a query; may be given from
    Python instead."""
    target: Target
    """What is to be predicted."""
    entities: Mapping[str, Entity] = Field(default_factory=dict)
    """What an event refers to; `user` and `item` are the two that recommending needs."""
    columns: Literal["auto"] | Mapping[str, Component] | None = None
    """Columns of the event itself, given or derived; `auto` types a plain table's columns and is
    the default where there are no entities."""
    model: Component
    """The model."""
    fit: Component | None = None
    """How the model is fitted where it is not by gradient descent."""
    loss: Component | None = None
    """The loss; by default what suits target and model."""
    negatives: Component | None = None
    """How items that a user did not choose are drawn, for losses that need some; `uniform` by
    default. Never one that the user chose in training; held-out rows have no say."""
    metrics: tuple[Component, ...] | None = None
    """The metrics; by default what suits the target."""
    split: Component | None = None
    """Which rows train, validate and test; by default `random`, and for an implicit target whose
    events have a column `timestamp`, `time`."""
    unknown: Component | None = None
    """What an id without training interactions stands on: `mean` or `masked`."""
    duplicates: Literal["keep", "first", "last", "mean"] = "keep"
    """What several events of one user with one item are: all of them, one, or their mean."""
    train: Train = Train()
    """How the weights are learnt."""
    retrieve: Retrieve | None = None
    """A first stage: lists are then the items that it finds, in the order of the model."""
    rerank: Component | tuple[Component, ...] | None = None
    """What puts recommended lists into another order, such as `mmr`; several one behind the other.
    Metrics are those of the model's own lists; `tabcf audit` measures both."""
    track: tuple[Component, ...] = ()
    """Who is told of the fit, such as a log file."""
    tune: Tune | None = None
    """What `tabcf tune` tries."""
    seed: int = Field(default=42, ge=0)
    """Where all randomness starts."""

    @field_validator("retrieve")
    @classmethod
    def _with_shared_training(cls, value: Retrieve | None, info: ValidationInfo) -> Retrieve | None:
        """The first stage with what it takes over from the spec's `train`."""
        train = info.data.get("train")
        if value is None or train is None:
            return value
        shared = {
            name: getattr(train, name)
            for name in ("refit", "device", "threads")
            if name not in value.train.model_fields_set
        }
        return value.model_copy(update={"train": value.train.model_copy(update=shared)})
