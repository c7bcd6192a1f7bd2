"""The built-in metrics and their options."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import MetricDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.target import TargetInfo, TargetKind

if TYPE_CHECKING:
    from torch import Tensor

    from tabcf.contracts.definitions import RankedLists

__all__ = ["METRICS"]

_NUMBERS: frozenset[TargetKind] = frozenset({"regression", "rating"})
_PROBABILITIES = ("probability", "probabilities")
_CLASSES: frozenset[TargetKind] = frozenset({"binary", "classes"})
_RANKED: frozenset[TargetKind] = frozenset({"implicit", "rating", "regression", "binary"})


class AtK(Options):
    """Looks at the first k of a list."""

    shorthand: ClassVar[str | None] = "k"

    k: PositiveInt = 10
    """Length of the list."""


class SampledAtK(AtK):
    """Looks at the first k of a relevant item and n others that are drawn for it."""

    n: PositiveInt = 100
    """How many others: items that the user neither had nor is to find."""


class OfAttribute(AtK):
    """Looks at an attribute of the first k items of a list."""

    shorthand: ClassVar[str | None] = "of"

    of: str
    """A column of the items' table, such as `genres`; several values stand between `|`."""


class InBins(Options):
    """Compares probabilities with frequencies, bin by bin."""

    shorthand: ClassVar[str | None] = "bins"

    bins: PositiveInt = 15
    """Bins of equal width, for each class or level."""


class OfShare(Options):
    """Looks at a central interval."""

    shorthand: ClassVar[str | None] = "share"

    share: float = Field(default=0.9, gt=0, lt=1)
    """What the interval should hold."""


class Unobvious(AtK):
    """Looks for what the most popular items do not give in the first k items of a list."""

    obvious: PositiveInt | None = None
    """How many of the most popular items that a user has not had are to be expected; by default
    k, as many as the list has."""


def _of_values(name: str) -> Callable[[TargetInfo, Any], Any]:
    def build(target: TargetInfo, options: NoOptions) -> Any:
        from tabcf import metrics

        compute = getattr(metrics, name)
        return lambda decoded, truth: compute(decoded["value"], truth)

    return build


def _of_classes(name: str) -> Callable[[TargetInfo, Any], Any]:
    def build(target: TargetInfo, options: NoOptions) -> Any:
        from tabcf import metrics

        compute = getattr(metrics, name)

        def of_decoded(decoded: dict[str, Tensor], truth: Tensor) -> Tensor:
            found = decoded.get("probability", decoded.get("probabilities"))
            result: Tensor = compute(found, _class_numbers(target, truth))
            return result

        return of_decoded

    return build


def _class_numbers(target: TargetInfo, truth: Tensor) -> Tensor:
    """The numbers of a rating's levels; classes come as such."""
    if target.kind != "rating":
        return truth
    import torch

    from tabcf.metrics import level_numbers

    return level_numbers(truth, torch.tensor(target.levels, dtype=torch.float64))


def _calibration_error(target: TargetInfo, options: InBins) -> Any:
    from tabcf.metrics import calibration_error

    def compute(decoded: dict[str, Tensor], truth: Tensor) -> Tensor:
        found = decoded["probability" if "probability" in decoded else "probabilities"]
        return calibration_error(found, _class_numbers(target, truth), n_bins=options.bins)

    return compute


def _interval_coverage(target: TargetInfo, options: OfShare) -> Any:
    from tabcf.metrics import interval_coverage, level_coverage

    def compute(decoded: dict[str, Tensor], truth: Tensor) -> Tensor:
        if "probabilities" in decoded:
            numbers = _class_numbers(target, truth)
            return level_coverage(decoded["probabilities"], numbers, share=options.share)
        return interval_coverage(decoded["value"], decoded["sd"], truth, share=options.share)

    return compute


def _of_hits(name: str) -> Callable[[TargetInfo, Any], Any]:
    def build(target: TargetInfo, options: AtK) -> Any:
        from tabcf import metrics

        compute = getattr(metrics, f"{name}_at_k")
        return lambda hits, n_relevant: compute(hits, n_relevant)

    return build


def _list_auc(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.metrics import list_auc

    return list_auc


def _of_sample(name: str) -> Callable[[TargetInfo, Any], Any]:
    def build(target: TargetInfo, options: SampledAtK) -> Any:
        from tabcf import metrics

        compute = getattr(metrics, f"sampled_{name}_at_k")
        return lambda ranks, n_candidates: compute(ranks, n_candidates, k=options.k, n=options.n)

    return build


def _coverage(lists: RankedLists) -> Tensor:
    from tabcf.metrics import coverage_at_k

    return coverage_at_k(lists.items, len(lists.counts))


def _gini(lists: RankedLists) -> Tensor:
    from tabcf.metrics import gini_at_k

    return gini_at_k(lists.items, len(lists.counts))


def _popularity(lists: RankedLists) -> Tensor:
    from tabcf.metrics import popularity_at_k

    return popularity_at_k(lists.items, lists.counts)


def _novelty(lists: RankedLists) -> Tensor:
    from tabcf.metrics import novelty_at_k

    return novelty_at_k(lists.items, lists.counts, lists.n_users)


def _diversity(target: TargetInfo, options: OfAttribute) -> Callable[[RankedLists], Tensor]:
    from tabcf.metrics import diversity_at_k

    def compute(lists: RankedLists) -> Tensor:
        assert lists.attributes is not None
        return diversity_at_k(lists.items, lists.attributes(options.of))

    return compute


def _miscalibration(target: TargetInfo, options: OfAttribute) -> Callable[[RankedLists], Tensor]:
    from tabcf.metrics import calibration_kl

    def compute(lists: RankedLists) -> Tensor:
        assert lists.attributes is not None and lists.history is not None
        return calibration_kl(lists.items, lists.history, lists.attributes(options.of))

    return compute


def _serendipity(target: TargetInfo, options: Unobvious) -> Callable[[RankedLists], Tensor]:
    from tabcf.metrics import serendipity_at_k

    def compute(lists: RankedLists) -> Tensor:
        assert lists.hits is not None and lists.obvious is not None
        return serendipity_at_k(
            lists.items, lists.hits, lists.obvious(options.obvious or options.k)
        )

    return compute


def _value(name: str, summary: str) -> MetricDefinition:
    return MetricDefinition(
        name=name, options=NoOptions, summary=summary, targets=_NUMBERS, build=_of_values(name)
    )


def _classes(name: str, summary: str, *, is_higher_better: bool) -> MetricDefinition:
    return MetricDefinition(
        name=name,
        options=NoOptions,
        summary=summary,
        targets=_CLASSES if name == "auc" else _CLASSES | {"rating"},
        build=_of_classes(name),
        is_higher_better=is_higher_better,
        reads=_PROBABILITIES,
    )


def _ranking(name: str, summary: str) -> MetricDefinition:
    return MetricDefinition(
        name=name,
        options=AtK,
        summary=summary,
        example=f"{{{name}: 10}}",
        targets=_RANKED,
        build=_of_hits(name),
        needs="hits",
        is_higher_better=True,
    )


def _sampled(name: str, summary: str) -> MetricDefinition:
    return MetricDefinition(
        name=f"sampled_biased_{name}",
        options=SampledAtK,
        summary=f"{summary} Biased: to compare with published figures alone.",
        example=f"{{sampled_biased_{name}: {{k: 10, n: 100}}}}",
        targets=_RANKED,
        build=_of_sample(name),
        needs="ranks",
        is_higher_better=True,
    )


def _lists(
    name: str, compute: Callable[[RankedLists], Tensor], summary: str, *, is_higher_better: bool
) -> MetricDefinition:
    return MetricDefinition(
        name=name,
        options=AtK,
        summary=summary,
        example=f"{{{name}: 10}}",
        targets=_RANKED,
        build=lambda target, options: compute,
        needs="lists",
        is_higher_better=is_higher_better,
    )


METRICS = (
    _value("rmse", "Root of the mean squared error, in the target's units."),
    _value("mae", "Mean absolute error, in the target's units."),
    _classes(
        "accuracy", "Share of rows whose likeliest class or level is right.", is_higher_better=True
    ),
    _classes(
        "auc",
        "Chance that a positive is scored above a negative; one class against the rest, averaged.",
        is_higher_better=True,
    ),
    _classes(
        "log_loss",
        "Mean of -log of the true class's or level's probability.",
        is_higher_better=False,
    ),
    MetricDefinition(
        name="calibration_error",
        options=InBins,
        summary="How far probabilities of classes or levels are from frequencies, in bins.",
        example="{calibration_error: 15}",
        targets=_CLASSES | {"rating"},
        build=_calibration_error,
        reads=_PROBABILITIES,
    ),
    MetricDefinition(
        name="interval_coverage",
        options=OfShare,
        summary="Share of rows within the central interval that should hold 90 % of them.",
        example="{interval_coverage: 0.9}",
        targets=_NUMBERS,
        build=_interval_coverage,
        reads=("sd", "probabilities"),
        is_higher_better=True,
    ),
    _ranking("ndcg", "Discounted hits over those of an ideal list, averaged over users."),
    _ranking("recall", "Share of a user's relevant items that the list holds."),
    _ranking("precision", "Share of the list that is relevant."),
    _ranking("hit_rate", "Share of users with at least one relevant item in the list."),
    _ranking("mrr", "One over the rank of the first relevant item."),
    _ranking("map", "Mean over relevant items of the precision at their rank."),
    MetricDefinition(
        name="list_auc",
        options=NoOptions,
        summary=(
            "Share of a user's pairs of a relevant and another item, over the whole catalogue, "
            "that are in the right order; 0.5 at random."
        ),
        targets=_RANKED,
        build=_list_auc,
        needs="ranks",
        is_higher_better=True,
    ),
    _sampled("ndcg", "NDCG of each relevant item among a few drawn ones, the mean over all draws."),
    _sampled("recall", "Recall of each relevant item among a few drawn ones, likewise."),
    _lists(
        "coverage", _coverage, "Share of the catalogue that is in any list.", is_higher_better=True
    ),
    _lists(
        "gini",
        _gini,
        "How unequally the lists' places are spread over the catalogue: 0 equally, 1 on one item.",
        is_higher_better=False,
    ),
    _lists(
        "popularity",
        _popularity,
        "Mean over the listed items of how many users had them in training.",
        is_higher_better=False,
    ),
    _lists(
        "novelty",
        _novelty,
        "Mean over the listed items of -log2 of the share of users who had them, in bits.",
        is_higher_better=True,
    ),
    MetricDefinition(
        name="serendipity",
        options=Unobvious,
        summary="Share of the list that is relevant and not among the most popular items.",
        example="{serendipity: {k: 10, obvious: 50}}",
        targets=_RANKED,
        build=_serendipity,
        needs="lists",
        is_higher_better=True,
    ),
    MetricDefinition(
        name="diversity",
        options=OfAttribute,
        summary="How unlike a list's items are by an attribute: mean of 1 - cosine over its pairs.",
        example="{diversity: {of: genres, k: 10}}",
        targets=_RANKED,
        build=_diversity,
        needs="lists",
        item_columns=lambda options: (options.of,),
        is_higher_better=True,
    ),
    MetricDefinition(
        name="miscalibration",
        options=OfAttribute,
        summary="How far a list's attributes are from those of the user's history, in nats.",
        example="{miscalibration: {of: genres, k: 10}}",
        targets=_RANKED,
        build=_miscalibration,
        needs="lists",
        item_columns=lambda options: (options.of,),
    ),
)
