"""What has to hold between the fields that a model is fitted by; true of each of two stages.

Each rule is a function that yields a path and a message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tabcf.contracts.definitions import FitDefinition, LossDefinition, ModelDefinition
from tabcf.contracts.tables import EVENT
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry, Resolved
from tabcf.spec.defaults import DEFAULT_LOSS, possible_kinds
from tabcf.spec.marks import KeyPath
from tabcf.spec.records import Component, Spec, Target
from tabcf.spec.references import SpecColumn

__all__ = ["ROLES", "STAGE_RULES", "Draft", "Rule", "Said", "kind_in_words", "listed"]

Said = Iterator[tuple[KeyPath, str]]

ROLES = frozenset({"user", "item"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec whose broken fields are replaced by defaults, and how to look components up.

    `columns` are those whose references can be followed, `refused` what is wrong with the others.
    """

    spec: Spec
    registry: Registry
    tables: Mapping[str, Collection[str]]
    columns: tuple[SpecColumn, ...]
    refused: Sequence[tuple[KeyPath, str]]

    def definition(self, kind: str, component: Component | None) -> Any:
        """A component's definition; None if there is none or its name is unknown."""
        if component is None or not self.registry.has(kind, component.name):
            return None
        resolved = self.resolved(kind, component)
        if resolved is not None:
            return resolved.definition
        return self.registry.get(kind, component.name)

    def resolved(self, kind: str, component: Component) -> Resolved | None:
        """The same with its options; None if they are wrong."""
        try:
            return self.registry.resolve(kind, component)
        except (SpecError, ValueError):
            return None

    def loss(self) -> LossDefinition | None:
        """The loss that is trained, by default the implicit target's; none in closed form."""
        model: ModelDefinition | None = self.definition("model", self.spec.model)
        if model is None or model.solve is not None:
            return None
        if self.spec.loss is None and self.spec.target.implicit is not None:
            return cast("LossDefinition", self.registry.get("loss", DEFAULT_LOSS["implicit"]))
        found: LossDefinition | None = self.definition("loss", self.spec.loss)
        return found

    def names(self, kind: str, fits: Callable[[Any], bool]) -> str:
        """The names of a kind's definitions that fit, for a hint."""
        return ", ".join(self.registry.names_where(kind, fits)) or "none"


Rule = Callable[[Draft], Said]


def _model_needs(draft: Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    given = draft.spec.entities.keys()
    if model is not None and not model.needs <= given:
        missing = ", ".join(sorted(model.needs - given, reverse=True))
        others = draft.names("model", lambda other: other.needs <= given)
        yield (
            ("model",),
            (
                f"{model.name} needs the entities {listed(model.needs)}; missing: {missing}; "
                f"models that do without: {others}"
            ),
        )


def _model_target(draft: Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    kinds = possible_kinds(draft.spec.target)
    if model is not None and not model.targets & kinds:
        others = draft.names("model", lambda other: bool(other.targets & kinds))
        yield (
            ("model",),
            (
                f"{model.name} learns {listed(model.targets)} targets, and this one is "
                f"{kind_in_words(draft.spec.target)}; models that fit: {others}"
            ),
        )


def _loss_target(draft: Draft) -> Said:
    loss: LossDefinition | None = draft.definition("loss", draft.spec.loss)
    kinds = possible_kinds(draft.spec.target)
    if loss is not None and not loss.targets & kinds:
        others = draft.names("loss", lambda other: bool(other.targets & kinds))
        yield (
            ("loss",),
            (
                f"{loss.name} takes {listed(loss.targets)} targets, and this one is "
                f"{kind_in_words(draft.spec.target)}; losses that fit: {others}"
            ),
        )


def _closed_form(draft: Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    if model is not None and model.solve is not None and draft.spec.loss is not None:
        yield (
            ("loss",),
            (
                f"{model.name} is solved in closed form, so there is no loss to choose; "
                "leave out `loss`"
            ),
        )


def _fit(draft: Draft) -> Said:
    fit: FitDefinition | None = draft.definition("fit", draft.spec.fit)
    if fit is None:
        return
    model, kinds = draft.spec.model.name, possible_kinds(draft.spec.target)
    if model not in fit.models:
        yield ("fit",), f"{fit.name} fits {listed(fit.models)}, and the model is {model}"
    if not fit.targets & kinds:
        yield (
            ("fit",),
            (
                f"{fit.name} takes {listed(fit.targets)} targets, and this one is "
                f"{kind_in_words(draft.spec.target)}"
            ),
        )
    resolved = None if draft.spec.fit is None else draft.resolved("fit", draft.spec.fit)
    if draft.spec.loss is None or resolved is None:
        return
    lowers = fit.lowers(resolved.options)
    name = lowers if isinstance(lowers, str) else next(iter(lowers))
    if draft.spec.loss.name != name:
        yield ("loss",), f"{fit.name} lowers {name}, so there is no loss to choose"


def _catalogue(draft: Draft) -> Said:
    loss = draft.loss()
    if loss is None or loss.form not in ("catalogue", "factored"):
        return
    if not loss.targets & possible_kinds(draft.spec.target):
        return  # said by the check of loss and target
    of_events = [f"`{column.key}`" for column in draft.columns if column.table == EVENT]
    of_events += [f"the entity {name}" for name in sorted(draft.spec.entities.keys() - ROLES)]
    if of_events:
        yield (
            ("loss",),
            (
                f"{loss.name} scores a user's whole catalogue at once, and an item that nobody "
                f"chose has no event to take {listed(of_events)} from; leave that out, or take "
                "columns that belong to a user or an item"
            ),
        )
    for column in draft.columns:
        if column.definition.own is not None:
            yield (
                column.path,
                (
                    f"`{column.key}` holds the very items that {loss.name} asks for, all of a "
                    "user's at once; take a loss of single events, or leave the column out"
                ),
            )


def _negatives(draft: Draft) -> Said:
    loss = draft.loss()
    if draft.spec.negatives is not None and (loss is None or loss.form != "sampled"):
        sampled = draft.names("loss", lambda other: other.form == "sampled")
        what = "is solved in closed form" if loss is None else f"{loss.name} draws none"
        yield ("negatives",), f"{what}; losses of sampled items: {sampled}"
    if loss is None or loss.form != "sampled":
        return
    if not draft.spec.entities.keys() >= ROLES:
        yield (
            ("loss",),
            f"{loss.name} draws items for users; it needs the entities user and item",
        )
    for column in draft.columns:
        if column.table == EVENT and "item" in column.tables:
            yield (
                column.path,
                (
                    f"`{column.key}` is made from the item's columns among others, and {loss.name} "
                    "compares an event with items that have none"
                ),
            )


def _single_output(draft: Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    loss: LossDefinition | None = draft.definition("loss", draft.spec.loss)
    if model is None or not model.is_single_output or model.solve is not None:
        return
    given = draft.spec.entities.keys()
    others = draft.names("model", lambda m: not m.is_single_output and m.needs <= given)
    if loss is not None and loss.form == "pointwise" and "classes" in loss.targets:
        what = "level" if draft.spec.target.levels else "class"
        yield (
            ("loss",),
            (
                f"{loss.name} needs one output a {what}, and {model.name} gives a single number; "
                f"use a model with several outputs ({others}) or another loss"
            ),
        )
    if draft.spec.target.columns is not None and len(draft.spec.target.columns) > 1:
        yield (
            ("model",),
            (
                f"{model.name} gives a single number, and the target has "
                f"{len(draft.spec.target.columns)} columns; models with several outputs: {others}"
            ),
        )


def _early_stopping(draft: Draft) -> Said:
    if draft.spec.train.early_stopping is None:
        return
    if draft.spec.split is None:
        return
    split = draft.resolved("split", draft.spec.split)
    if split is not None and getattr(split.options, "valid", None) == 0:
        yield (
            ("train", "early_stopping"),
            (
                f"needs a validation part, and the split {split.definition.name} leaves none; "
                "give the split a `valid` share"
            ),
        )


def _weights(draft: Draft) -> Said:
    """Weights of events need somebody to weigh, and a loss in which events count."""
    train = draft.spec.train
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    fit: FitDefinition | None = draft.definition("fit", draft.spec.fit)
    for key, role in (("user_weights", "user"), ("item_propensity", "item"), ("time_decay", None)):
        if getattr(train, key) is None:
            continue
        if role is not None and role not in draft.spec.entities:
            yield ("train", key), f"weighs events by their {role}s; it needs the entity {role}"
        if model is not None and model.solve is not None:
            yield (
                ("train", key),
                f"{model.name} is solved in closed form; weights go with gradient descent",
            )
        if fit is not None:
            yield ("train", key), f"{fit.name} takes none; weights go with gradient descent"
    loss = draft.loss()
    if train.user_weights is None or loss is None:
        return
    by_user = False
    if draft.spec.loss is not None:
        resolved = draft.resolved("loss", draft.spec.loss)
        by_user = resolved is not None and getattr(resolved.options, "reduction", "") == "user"
    if by_user or loss.form == "factored":
        yield (
            ("train", "user_weights"),
            f"the loss {loss.name} counts all users the same already; leave this out",
        )


def _descent(draft: Draft) -> Said:
    """What averages weights or predictions, or makes steps faster, goes with gradient descent."""
    train = draft.spec.train
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    fit: FitDefinition | None = draft.definition("fit", draft.spec.fit)
    said = {
        "ensemble": train.ensemble > 1,
        "average": train.average is not None,
        "compile": train.compile,
        "precision": train.precision != "fp32",
    }
    for key, is_given in said.items():
        if is_given and model is not None and model.solve is not None:
            yield (
                ("train", key),
                f"{model.name} is solved, and has one solution; this goes with gradient descent",
            )
        if is_given and fit is not None:
            yield ("train", key), f"{fit.name} fits in its own way; this goes with gradient descent"


STAGE_RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (_model_needs, ("model", "entities")),
    (_model_target, ("model", "target")),
    (_loss_target, ("loss", "target")),
    (_closed_form, ("model", "loss")),
    (_fit, ("fit", "model", "target", "loss")),
    (_catalogue, ("loss", "model", "target", "columns", "entities")),
    (_negatives, ("negatives", "loss", "model", "columns", "entities", "target")),
    (_single_output, ("model", "loss", "target", "entities")),
    (_early_stopping, ("train", "split")),
    (_weights, ("train", "entities", "model", "fit", "loss", "target")),
    (_descent, ("train", "model", "fit")),
)


def kind_in_words(target: Target) -> str:
    """A target's kind, as far as the spec says it."""
    kinds = sorted(possible_kinds(target))
    return kinds[0] if len(kinds) == 1 else "a column of numbers or classes"


def listed(names: Collection[str]) -> str:
    """Names in a sentence: user before item, all others by the alphabet."""
    ordered = sorted(names, key=lambda name: (name != "user", name))
    if len(ordered) < 2:
        return "".join(ordered)
    return f"{', '.join(ordered[:-1])} and {ordered[-1]}"
