"""The built-in selectors of questions and their options.

The defaults of `d_optimal`, `tree` and `rehearsed` were chosen on validation users of
MovieLens-100K, whom `benchmarks/onboarding.py` holds apart from those that it measures on.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import SelectorDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.selector import PastAnswers

__all__ = ["SELECTORS"]


class Entropy0Options(Options):
    """How much it says that an item is not rated."""

    shorthand: ClassVar[str | None] = "unrated_weight"

    unrated_weight: float = Field(default=0.5, ge=0)
    """The weight of the kind of answer "unrated"; each other kind has weight 1."""


class DOptimalOptions(Options):
    """What is weighed, and how users are likened to training users."""

    shorthand: ClassVar[str | None] = "pool"

    pool: PositiveInt = 200
    """So many of the most popular items are weighed; the others come behind them."""
    smoothing: float = Field(default=0.7, gt=0, le=1)
    """How little a user knows the same items as any single training user; at 1, how likely they
    know an item is its popularity, whatever they have said."""


class TreeOptions(Options):
    """How large a tree is learnt, and who asks behind it."""

    shorthand: ClassVar[str | None] = "depth"

    depth: PositiveInt = Field(default=6, le=20)
    """Questions from the root to a leaf, at most."""
    pool: PositiveInt = 200
    """So many of the most popular items may be asked about."""
    least_users: PositiveInt = 20
    """A branch with fewer training users has no further question."""
    like: float | None = None
    """An answer of at least this is a like; by default the mean of all training answers."""
    behind: Literal["entropy0", "helf", "log_pop_entropy", "popularity"] = "log_pop_entropy"
    """Who asks behind the leaves."""


class RehearsedOptions(Options):
    """How much is rehearsed, and how far interviews are told apart."""

    shorthand: ClassVar[str | None] = "depth"

    depth: PositiveInt = Field(default=10, le=50)
    """Questions that are rehearsed; behind them come the items that helped most."""
    pool: PositiveInt = 200
    """So many of the most popular items may be asked about."""
    interviews: PositiveInt | None = None
    """How many interviews with training users are rehearsed; by default 4,000, or 1,000 where they
    are judged by lists, which takes longer."""
    strength: float = Field(default=3.0, gt=0)
    """All interviews count as so many times their number beside those that went the same way; the
    more, the less the next question hangs on answers."""
    like: float | None = None
    """An answer of at least this is a like; by default the mean of all training answers."""


def _random(past: PastAnswers, options: NoOptions) -> Any:
    from tabcf.recommend.onboarding.rankings import RandomOrder

    return RandomOrder(past)


def _popularity(past: PastAnswers, options: NoOptions) -> Any:
    from tabcf.recommend.onboarding.rankings import by_score, popularity

    return by_score(past, popularity(past))


def _entropy0(past: PastAnswers, options: Entropy0Options) -> Any:
    from tabcf.recommend.onboarding.rankings import by_score, entropy0

    return by_score(past, entropy0(past, unrated_weight=options.unrated_weight))


def _log_pop_entropy(past: PastAnswers, options: NoOptions) -> Any:
    from tabcf.recommend.onboarding.rankings import by_score, log_pop_entropy

    return by_score(past, log_pop_entropy(past))


def _helf(past: PastAnswers, options: NoOptions) -> Any:
    from tabcf.recommend.onboarding.rankings import by_score, helf

    return by_score(past, helf(past))


def _d_optimal(past: PastAnswers, options: DOptimalOptions) -> Any:
    from tabcf.recommend.onboarding.d_optimal import DOptimal

    return DOptimal(past, pool=options.pool, smoothing=options.smoothing)


def _tree(past: PastAnswers, options: TreeOptions) -> Any:
    from tabcf.recommend.onboarding.tree import Tree

    rankings = {d.name: d for d in SELECTORS}
    behind = rankings[options.behind]
    return Tree(
        past,
        depth=options.depth,
        pool=options.pool,
        least_users=options.least_users,
        like=options.like,
        behind=behind.build(past, behind.options()),
    )


def _rehearsed(past: PastAnswers, options: RehearsedOptions) -> Any:
    from tabcf.recommend.onboarding.rehearsed import Rehearsed

    is_number = past.target.kind in ("rating", "regression")
    return Rehearsed(
        past,
        depth=options.depth,
        pool=options.pool,
        interviews=options.interviews or (4_000 if is_number else 1_000),
        strength=options.strength,
        like=options.like,
    )


SELECTORS = (
    SelectorDefinition(
        name="random",
        options=NoOptions,
        summary="Any item with the same chance.",
        build=_random,
    ),
    SelectorDefinition(
        name="popularity",
        options=NoOptions,
        summary="The items that most training users had.",
        build=_popularity,
    ),
    SelectorDefinition(
        name="entropy0",
        options=Entropy0Options,
        summary='Items whose answers differ most, "unrated" being one of the answers.',
        example="{entropy0: 0.5}",
        build=_entropy0,
    ),
    SelectorDefinition(
        name="log_pop_entropy",
        options=NoOptions,
        summary="Log popularity times the entropy of an item's answers.",
        build=_log_pop_entropy,
    ),
    SelectorDefinition(
        name="helf",
        options=NoOptions,
        summary="The harmonic mean of the answers' entropy and of log popularity.",
        build=_helf,
    ),
    SelectorDefinition(
        name="d_optimal",
        options=DOptimalOptions,
        summary="The information an answer would give, times how likely there is one.",
        example="{d_optimal: {pool: 200, smoothing: 0.7}}",
        build=_d_optimal,
        needs_posterior=True,
    ),
    SelectorDefinition(
        name="tree",
        options=TreeOptions,
        summary="A decision tree: each question follows from the answers before.",
        example="{tree: {depth: 6, behind: popularity}}",
        build=_tree,
    ),
    SelectorDefinition(
        name="rehearsed",
        options=RehearsedOptions,
        summary="What helped training users most, in interviews rehearsed with them.",
        example="{rehearsed: {depth: 10, interviews: 1000}}",
        build=_rehearsed,
        needs_posterior=True,
        is_shared=True,
    ),
)
