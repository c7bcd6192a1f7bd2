"""What a built-in or a plugin registers: a name, an options record and a way to build it.

A `build` function imports what is heavy inside itself, so that listing definitions stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tabcf.contracts.options import Options
from tabcf.contracts.target import TargetInfo, TargetKind

if TYPE_CHECKING:
    import click
    import numpy as np
    import pandas as pd
    from torch import Generator, Tensor, nn

    from tabcf.contracts.inputs import Bag
    from tabcf.contracts.launch import Launched
    from tabcf.contracts.layout import Layout
    from tabcf.contracts.reranking import Rerank
    from tabcf.contracts.selector import PastAnswers, Selector
    from tabcf.contracts.table import Table
    from tabcf.contracts.tables import Tables
    from tabcf.contracts.tracker import Tracker

__all__ = [
    "BatchForm",
    "ColumnDefinition",
    "CommandDefinition",
    "Definition",
    "EngineDefinition",
    "FitDefinition",
    "FitProblem",
    "LossDefinition",
    "MetricDefinition",
    "ModelDefinition",
    "RankedLists",
    "RerankerDefinition",
    "SamplerDefinition",
    "ScheduleDefinition",
    "SelectorDefinition",
    "SplitDefinition",
    "TrackerDefinition",
    "UnknownDefinition",
]

ColumnOutput = Literal["category", "number", "set"]
BatchForm = Literal["pointwise", "sampled", "catalogue", "factored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What every component has: its name in YAML, its options, one line on what it is.

    `example` is YAML that uses it, as it stands in a spec below the component's key.
    """

    name: str
    options: type[Options]
    summary: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class FitProblem:
    """What a closed-form fit sees: the encoded training rows and what is to be learnt."""

    train: Table
    layout: Layout
    target: TargetInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefinition(Definition):
    """A model: `build(layout, target, d_out, options)` gives an `nn.Module`.

    With `solve(model, problem, options, rng)` the model is fitted by that call in place of
    gradient descent and takes no loss; `lowers(options)` gives the loss, as a spec names it, that
    the solution is the lowest of, where it is one of tabcf's. `unknown` is the default policy for
    ids without training. `orders_items` is false for a model to which all items are alike.
    `space` says what `tabcf tune` tries by default: by option, as in a spec's `tune.space`.
    `epochs` are those of a spec that gives none, with a loss of single events or sampled items.
    """

    targets: frozenset[TargetKind]
    build: Callable[[Layout, TargetInfo, int, Any], nn.Module]
    solve: Callable[[nn.Module, FitProblem, Any, Generator], None] | None = None
    lowers: Callable[[Any], Any] | None = None
    needs: frozenset[str] = frozenset()
    unknown: Literal["mean", "masked"] = "masked"
    is_single_output: bool = False
    orders_items: bool = True
    space: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LossDefinition(Definition):
    """A loss: `build(target, options)` gives a `tabcf.losses.Loss`.

    `pointwise` losses see one raw output row per event, `sampled` ones those of its item and of
    others that were drawn, `catalogue` ones a user's raw outputs for every item, `factored` ones
    the vectors that these are products of. In a sum beside a pointwise loss it takes
    `targets_in_sum` as well. A loss made of others has a `compose(lookup, options)` that gives its
    definition for the losses that its options name; `lookup` gives a name's definition, options
    and scope.
    """

    targets: frozenset[TargetKind]
    build: Callable[[TargetInfo, Any], nn.Module]
    form: BatchForm = "pointwise"
    targets_in_sum: frozenset[TargetKind] = frozenset()
    compose: Callable[[Callable[[str], Any], Any], LossDefinition] | None = None


@dataclass(frozen=True, slots=True)
class RankedLists:
    """What a metric of lists sees: all users' lists, and what they are compared with.

    Attributes:
        items: `(U, K)` int64, the item column at each place, -1 where a short list is empty.
        counts: `(I,)` int64, how many users had each item in training.
        n_users: How many users had any.
        history: The item columns that each user had in training, a bag of U rows.
        attributes: Gives `(I, A)` zeros and ones: which values of a column of the item's table
            each item has, such as its genres.
        hits: `(U, K)` booleans, whether the item at each place is relevant.
        obvious: Gives `(U, k)` for a k: what a list of the most popular items in training would
            have held for each user, -1 where it is short.
    """

    items: Tensor
    counts: Tensor
    n_users: int
    history: Bag | None = None
    attributes: Callable[[str], Tensor] | None = None
    hits: Tensor | None = None
    obvious: Callable[[int], Tensor] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDefinition(Definition):
    """A metric: `build(target, options)` gives a function of what it `needs`.

    `predictions`: `compute(prediction, truth)` gives one number. `hits`:
    `compute(hits, n_relevant)` gets `(U, K)` booleans and `(U,)` counts and returns one number per
    user. `lists`: `compute(lists)` gets `RankedLists` and returns one number per user, NaN where
    there is nothing to say, or one for all lists together. `ranks`: `compute(ranks, n_candidates)`
    gets a bag of U rows, where a user's relevant items stand among all of the catalogue that the
    user has not had, and `(U,)` counts of these; from 1 for the best, items of equal score sharing
    the mean of their ranks. It returns one number per user, or NaN. The options of `hits` and
    `lists` have a `k`, and `is_ranking` holds for all but `predictions`; given alone it means
    `hits`.

    `reads` names what a prediction must have beyond a loss's usual one, such as `probabilities`
    of a rating's levels, or `sd`, the standard deviation of a number; of several names one will
    do. `item_columns(options)` names the columns of the items' table that the metric asks
    `RankedLists.attributes` for.
    """

    targets: frozenset[TargetKind]
    build: Callable[[TargetInfo, Any], Callable[..., Tensor]]
    needs: Literal["predictions", "hits", "lists", "ranks"] = "predictions"
    is_ranking: bool = False
    is_higher_better: bool = False
    reads: str | tuple[str, ...] | None = None
    item_columns: Callable[[Any], tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        """Make `needs` and `is_ranking` say the same."""
        if self.is_ranking and self.needs == "predictions":
            object.__setattr__(self, "needs", "hits")
        object.__setattr__(self, "is_ranking", self.needs != "predictions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDefinition(Definition):
    """A column kind: what it learns from training rows, and the column it makes.

    `fit(tables, options)` sees training rows only and gives a state of plain JSON values and
    numpy arrays (numbers, truth values or fixed-width text), saved with the run.
    `apply(tables, options, state)` gives a Series of the stated output, one value per row of
    `tables.here`.

    `sources(name, options)` lists what it reads: `"timestamp"` or another column's name,
    `"user.age"` for another table's column, `"user"` for an entity's ids. Its side follows from
    them.

    A column made from training events, such as a count, has to leave a training row's own event
    out. With `leaves_out_own`, `apply` is called for training rows on their own, with
    `tables.is_training` set. A set does so by `own(tables, options, state)`: a text for each
    event, the value that is left out of its set. With `follows_events` it is fitted anew when a
    run learns from further events; other columns keep what they learnt, since models rest on it.
    """

    output: ColumnOutput
    sources: Callable[[str, Any], tuple[str, ...]]
    apply: Callable[[Tables, Any, Any], pd.Series[Any]]
    fit: Callable[[Tables, Any], Any] | None = None
    own: Callable[[Tables, Any, Any], pd.Series[Any]] | None = None
    leaves_out_own: bool = False
    follows_events: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDefinition(Definition):
    """A split: `assign(events, roles, options, rng)` gives `(N,)` int8.

    0 trains, 1 validates, 2 tests; 3 is told of those who test and neither learnt from nor scored.

    `roles` maps `user`, `item` and `target` to column names, as far as there are any. A split that
    can be several ones has `folds(options)`: the options of each by its name, none where the given
    options are of one alone. `assign` then takes the first of them.

    `reads(options)` names the columns that `assign` looks at beside those of `roles`, by their
    role or their name; without it all columns of the events are read.
    """

    assign: Callable[[pd.DataFrame, dict[str, str], Any, np.random.Generator], np.ndarray]
    folds: Callable[[Any], Mapping[str, Mapping[str, Any]]] | None = None
    reads: Callable[[Any], tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDefinition(Definition):
    """Another way to fit than gradient descent, for models that it names.

    `build(member, target, options)` turns what builds the model for a layout into what builds the
    fitted one, such as several of it; `solve(model, problem, options, rng)` fits that.
    `lowers(options)` gives the loss, as a spec names it, whose best solution it looks for; it
    decodes the fitted model's outputs. `space` says what `tabcf tune` tries by default.
    """

    models: frozenset[str]
    targets: frozenset[TargetKind]
    lowers: Callable[[Any], Any]
    build: Callable[[Callable[[Layout], nn.Module], TargetInfo, Any], Callable[[Layout], nn.Module]]
    solve: Callable[[nn.Module, FitProblem, Any, Generator], None]
    space: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDefinition(Definition):
    """A schedule: `build(options)` gives a function of progress in [0, 1].

    It returns a factor of the learning rate, and the optimiser's first beta or None.
    """

    build: Callable[[Any], Callable[[float], tuple[float, float | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDefinition(Definition):
    """How steps are taken, and by whose processes.

    `launch(launch, options)` starts the processes of a `tabcf.contracts.launch.Launch`, as many as
    `train.workers` says; without it these are processes of this machine, and for one worker none.
    `steps` are `fused`, `eager`, or `auto`, whatever can be; several processes take eager ones.
    """

    steps: Literal["auto", "fused", "eager"] = "auto"
    launch: Launched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDefinition(Definition):
    """What an unknown value's embedding row is: `mean` or `masked`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerDefinition(Definition):
    """Who is told of a fit: `build(options)` gives a `tabcf.contracts.tracker.Tracker`."""

    build: Callable[[Any], Tracker]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerDefinition(Definition):
    """How items are drawn that a user did not choose.

    `build(options)` gives a function of a `tabcf.training.samplers.Catalogue` that gives a sampler.
    """

    build: Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerDefinition(Definition):
    """A re-ranker: `build(options)` gives a function of a `tabcf.contracts.reranking.Pool`.

    The options have an `n`, how many of a list's first items it looks at. One that `explores`
    leaves something to chance and gives propensities; its options have a `seed`.
    `item_columns(options)` names the columns of the items' table that it asks for.
    """

    build: Callable[[Any], Rerank]
    explores: bool = False
    item_columns: Callable[[Any], tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorDefinition(Definition):
    """How questions for new users are chosen: `build(past, options)` gives a `Selector`.

    `past` is a `tabcf.contracts.selector.PastAnswers`. With `needs_posterior` it always has a
    `gain` and a `rehearse`, and the selector is refused for models that have no rows to find; so it
    is for other kinds of targets than `targets`. One that `is_shared` is built once a run and asks
    all of its new users: it neither changes with the questions nor looks at users' attributes.
    """

    build: Callable[[PastAnswers, Any], Selector]
    targets: frozenset[TargetKind] = frozenset({"rating", "regression", "binary", "implicit"})
    needs_posterior: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDefinition:
    """A command of `tabcf`: `build()` gives a `click.Command` and imports what it needs."""

    name: str
    summary: str
    build: Callable[[], click.Command]
