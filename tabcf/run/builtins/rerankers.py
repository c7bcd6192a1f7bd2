"""The built-in re-rankers; what they do is in `tabcf.recommend.reranking`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import RerankerDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.reranking import Pool, Rerank

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["RERANKERS"]

_Share = Annotated[float, Field(ge=0, le=1)]


class _RerankOptions(Options):
    """The base: how far down a list a re-ranker looks."""

    n: PositiveInt = 100
    """How many of the list's first items it looks at; the others drop out."""


class _StrengthOptions(_RerankOptions):
    """The base of those that weigh scores, scaled to 0 to 1, against something else."""

    shorthand: ClassVar[str | None] = "strength"

    strength: _Share = 0.5
    """0 keeps the model's order, 1 looks at no score."""


class MMROptions(_StrengthOptions):
    """Items unlike those above them."""

    of: str | None = None
    """A column of the items' table to compare them by; by default the items' trained vectors."""


class XQuADOptions(_StrengthOptions):
    """Every aspect that the user's past has, as early as it can be."""

    of: str | None = None
    """A column of the items' table whose values are the aspects; by default there are two, popular
    items and the long tail."""
    head: float = Field(default=0.8, gt=0, lt=1)
    """The most popular items that together have this share of events are no long tail."""
    smooth: bool = False
    """An aspect's novelty falls with its share of the list so far, not at its first item."""


class CalibratedOptions(_StrengthOptions):
    """Lists whose attribute is spread as in the user's past."""

    of: str | None = None
    """A column of the items' table; may be left out where it is the only one."""


class GroupCapsOptions(_RerankOptions):
    """No value of an attribute with more than a share of a list."""

    share: _Share | Mapping[str, _Share]
    """The largest share of a list, rounded down to places; or one for each of some values."""
    of: str | None = None
    """A column of the items' table; may be left out where it is the only one."""


class PopularityPenaltyOptions(_RerankOptions):
    """A price on popularity."""

    shorthand: ClassVar[str | None] = "strength"

    strength: float = Field(default=0.1, ge=0)
    """Taken from the score for each factor of e more training events, in the score's units."""


class EpsilonGreedyOptions(_RerankOptions):
    """Some places at random."""

    shorthand: ClassVar[str | None] = "epsilon"

    epsilon: _Share = 0.1
    """Share of places that any of the items is drawn for."""
    seed: int | None = Field(default=None, ge=0)
    """Where the draws come from; the run's own seed by default, so that lists stay the same."""


class ThompsonOptions(_RerankOptions):
    """Each item by one draw of what its score may be."""

    shorthand: ClassVar[str | None] = "scale"

    scale: float = Field(default=1.0, ge=0)
    """Times each score's standard deviation."""
    spread: Literal["auto", "posterior", "events"] = "auto"
    """What that is: `posterior`, what the model does not know of the user after their events;
    `events`, the standard deviation of the list's scores over the root of 1 + the item's events;
    `auto`, the first where the model has rows of users, else the second."""
    seed: int | None = Field(default=None, ge=0)
    """Where the draws come from; the run's own seed by default, so that lists stay the same."""


def _mmr(options: MMROptions) -> Rerank:
    from tabcf.recommend.reranking.greedy import mmr

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        facts = pool.facts
        vectors = facts.vectors() if options.of is None else facts.aspects(options.of).of_items
        of_pool = _of_pool(vectors, pool)
        return pool.ordered(mmr(pool.scores, of_pool, strength=options.strength, k=n))

    return rerank


def _xquad(options: XQuADOptions) -> Rerank:
    from tabcf.recommend.reranking.greedy import xquad

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        if options.of is None:
            aspects = pool.facts.tail(options.head)
        else:
            aspects = pool.facts.aspects(options.of)
        own = _of_pool(aspects.of_items, pool).double()
        own = own / own.sum(2, keepdim=True).clamp_min(1)
        strength, is_smooth = options.strength, options.smooth
        return pool.ordered(
            xquad(pool.scores, own, aspects.had, strength=strength, k=n, is_smooth=is_smooth)
        )

    return rerank


def _calibrated(options: CalibratedOptions) -> Rerank:
    from tabcf.recommend.reranking.greedy import calibrated

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        aspects = pool.facts.aspects(options.of)
        own = _of_pool(aspects.of_items, pool).double()
        own = own / own.sum(2, keepdim=True).clamp_min(1)
        return pool.ordered(
            calibrated(pool.scores, own, aspects.had, strength=options.strength, k=n)
        )

    return rerank


def _group_caps(options: GroupCapsOptions) -> Rerank:
    import torch

    from tabcf.errors import DataError
    from tabcf.recommend.reranking.rules import group_caps

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        aspects = pool.facts.aspects(options.of)
        values, groups = aspects.values, _of_pool(aspects.of_items, pool)
        shares = options.share
        if isinstance(shares, Mapping):
            unknown = sorted(set(shares) - set(values))
            if unknown:
                raise DataError(
                    f"rerank: group_caps: no item has the value '{unknown[0]}'; known: "
                    f"{', '.join(values)}"
                )
            each = [shares.get(value, 1.0) for value in values]
        else:
            each = [shares] * len(values)
        # 0.3 of 10 places are 3, though the product is a little less.
        most = torch.tensor([int(share * pool.k + 1e-9) for share in each])
        return pool.ordered(group_caps(pool.scores, groups, most, k=pool.k))

    return rerank


def _popularity_penalty(options: PopularityPenaltyOptions) -> Rerank:
    from dataclasses import replace

    from tabcf.recommend.reranking.rules import popularity_penalty

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        popularity = _of_pool(pool.facts.popularity, pool)
        scores = popularity_penalty(pool.scores, popularity, strength=options.strength)
        places = scores.argsort(dim=1, descending=True, stable=True)
        return replace(
            pool, columns=pool.columns.gather(1, places), scores=scores.gather(1, places)
        )

    return rerank


def _epsilon_greedy(options: EpsilonGreedyOptions) -> Rerank:
    from tabcf.recommend.reranking.exploration import epsilon_greedy

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        found = epsilon_greedy(pool.scores, epsilon=options.epsilon, k=n, rng=rng)
        return pool.ordered(found.places, propensities=found.propensities)

    return rerank


def _thompson(options: ThompsonOptions) -> Rerank:
    from tabcf.recommend.reranking.exploration import thompson

    def rerank(pool: Pool, n: int, rng: Generator) -> Pool:
        spread = pool.facts.spread(pool.columns, pool.scores, kind=options.spread)
        found = thompson(pool.scores, options.scale * spread, k=n, rng=rng)
        return pool.ordered(found.places, propensities=found.propensities)

    return rerank


def _of_pool(of_items: Tensor, pool: Pool) -> Tensor:
    """`(B, N, ...)`: what `(I, ...)` has for the pool's items; empty places read the first."""
    return of_items[pool.columns.clamp_min(0)]


def _of_column(options: Any) -> tuple[str, ...]:
    return () if options.of is None else (options.of,)


RERANKERS = (
    RerankerDefinition(
        name="mmr",
        options=MMROptions,
        summary="Items unlike those above them (maximal marginal relevance).",
        example="{mmr: {strength: 0.3}}",
        build=_mmr,
        item_columns=_of_column,
    ),
    RerankerDefinition(
        name="xquad",
        options=XQuADOptions,
        summary="Each aspect of the user's past early; by default more of the long tail.",
        example="{xquad: {strength: 0.3, smooth: true}}",
        build=_xquad,
        item_columns=_of_column,
    ),
    RerankerDefinition(
        name="calibrated",
        options=CalibratedOptions,
        summary="An attribute spread over a list as over the user's past.",
        example="{calibrated: {of: genres, strength: 0.5}}",
        build=_calibrated,
        item_columns=_of_column,
    ),
    RerankerDefinition(
        name="group_caps",
        options=GroupCapsOptions,
        summary="No value of an attribute with more than a share of a list.",
        example="{group_caps: {of: genres, share: 0.3}}",
        build=_group_caps,
        item_columns=_of_column,
    ),
    RerankerDefinition(
        name="popularity_penalty",
        options=PopularityPenaltyOptions,
        summary="Less for items that have many events.",
        example="{popularity_penalty: 0.1}",
        build=_popularity_penalty,
    ),
    RerankerDefinition(
        name="epsilon_greedy",
        options=EpsilonGreedyOptions,
        summary="Some places at random, with the probability of each place.",
        example="{epsilon_greedy: 0.1}",
        build=_epsilon_greedy,
        explores=True,
    ),
    RerankerDefinition(
        name="thompson",
        options=ThompsonOptions,
        summary="Each item by a draw of what its score may be, with the probability of each place.",
        example="{thompson: {scale: 1.0}}",
        build=_thompson,
        explores=True,
    ),
)
