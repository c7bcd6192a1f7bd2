"""The reference page of the grammar, in Markdown, written from the records themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tabcf.contracts.definitions import Definition
from tabcf.contracts.options import Options
from tabcf.errors import SpecError
from tabcf.plugin.registry import KINDS, Registry
from tabcf.spec.event_weights import ItemPropensity, TimeDecay, UserWeights
from tabcf.spec.records import (
    Averaging,
    Checkpoint,
    Component,
    EarlyStopping,
    Entity,
    Implicit,
    Retrieve,
    Rows,
    Spec,
    Sql,
    Target,
    Train,
)
from tabcf.spec.shape import record_schema
from tabcf.spec.tune import Range, Tune
from tabcf.spec.wording import did_you_mean, flow, nodes_at, type_in_words

__all__ = ["component_text", "default_of", "example_of", "reference_page"]

_RECORDS: tuple[tuple[str, str, type[Options]], ...] = (
    ("The spec", "", Spec),
    ("`data` and `entities.NAME.table`", "data", Rows),
    ("`data.sql`", "data.sql", Sql),
    ("`target`", "target", Target),
    ("`target.implicit`", "target.implicit", Implicit),
    ("`entities.NAME`", "entities.user", Entity),
    ("`train`", "train", Train),
    ("`train.user_weights`", "train.user_weights", UserWeights),
    ("`train.item_propensity`", "train.item_propensity", ItemPropensity),
    ("`train.time_decay`", "train.time_decay", TimeDecay),
    ("`train.early_stopping`", "train.early_stopping", EarlyStopping),
    ("`train.average`", "train.average", Averaging),
    ("`train.checkpoint`", "train.checkpoint", Checkpoint),
    ("`retrieve`", "retrieve", Retrieve),
    ("`tune`", "tune", Tune),
    ("A range in `tune.space`", "tune.space.PATH", Range),
)
_KIND_TITLES: Mapping[str, str] = {
    "model": "Models: `model`",
    "fit": "Ways to fit: `fit`",
    "loss": "Losses: `loss`",
    "metric": "Metrics: `metrics`",
    "column": "Kinds of columns: `columns` and `entities.NAME.columns`",
    "sampler": "Samplers: `negatives`",
    "split": "Splits: `split`",
    "schedule": "Schedules: `train.schedule`",
    "engine": "Engines: `train.engine`",
    "reranker": "Re-rankers: `rerank`",
    "tracker": "Trackers: `track`",
    "selector": "Selectors of questions: `tabcf onboard --selector`",
    "unknown": "Unknown values: `unknown`",
}
_KEYS: Mapping[str, str] = {
    "metric": "metrics",
    "reranker": "rerank",
    "sampler": "negatives",
    "schedule": "train.schedule",
    "engine": "train.engine",
    "tracker": "track",
}
_INTRODUCTION = """\
# Reference of the spec

<!-- Written by the program from its own records; change those. -->

A spec is one YAML file. Every component (a model, a loss, a metric, a kind of column, a split, a
schedule) is written in one of two ways: its bare name, or a mapping with one key, the name, and
the options below it.

```yaml
loss: mse
loss: {huber: {delta: 0.5}}
```

Where a record has a shorthand, a bare value stands for that one field: `target: rating` means
`target: {column: rating}`.

Words mean what they look like: only `true` and `false` are truth values (`yes`, `no` and `on` are
text), `2e-2` is a number, and `010`, `12:30` and `2024-01-31` are text. A key given twice is an
error, and so is an unknown one.
"""


def reference_page(registry: Registry) -> str:
    """Markdown with every field and every component, their types, defaults and meanings."""
    parts = [_INTRODUCTION]
    for title, place, record in _RECORDS:
        parts.append(f"## {title}\n\n{_summary(record)}\n")
        if record.shorthand is not None:
            parts.append(f"Shorthand: `{place}: …` fills `{_key(record, record.shorthand)}`.\n")
        parts.append("\n".join(_table(record)) + "\n")
    for kind in KINDS:
        parts.append(f"## {_KIND_TITLES.get(kind, kind.capitalize())}\n")
        for name in registry.names(kind):
            part, origin = registry.part(kind, name), registry.origin(kind, name)
            if part is not None:
                stands_for = flow({part.name: dict(part.options)})
                parts.append(f"### `{name}` (from {origin})\n\nStands for `{stands_for}`.\n")
                continue
            parts.append(_component(kind, registry.get(kind, name), origin))
    return "\n".join(parts)


def component_text(registry: Registry, name: str) -> str:
    """What a terminal shows of the components of a name, of whichever kinds.

    Raises:
        SpecError: There is none; names the nearest ones.
    """
    found = [kind for kind in KINDS if registry.has(kind, name)]
    if not found:
        known = sorted({n for kind in KINDS for n in registry.names(kind)})
        hint = did_you_mean(name, known) or ";"
        raise SpecError([f"no component named '{name}'{hint} known: {', '.join(known)}"])
    return "\n".join("\n".join(_text(registry, kind, name)) + "\n" for kind in found)


def _text(registry: Registry, kind: str, name: str) -> Iterator[str]:
    full, part = registry.full_name(kind, name), registry.part(kind, name)
    origin = registry.origin(kind, name)
    yield f"{kind} {full} ({'built in' if origin == 'tabcf' else f'of {origin}'})"
    if part is not None:
        yield f"  stands for: {flow({part.name: dict(part.options)})}"
        return
    definition: Definition = registry.get(kind, name)
    record = definition.options
    yield f"  {definition.summary}"
    if record.shorthand is not None:
        yield f"  {definition.name}: VALUE is short for {_key(record, record.shorthand)}: VALUE"
    for row in _rows(record):
        yield ""
        default = row.default.replace("`", "")
        said = default if default in ("required", "its own defaults") else f"default {default}"
        yield f"  {row.key}: {row.words} ({said})"
        yield from wrap(row.meaning, 96, initial_indent="    ", subsequent_indent="    ")
    yield ""
    yield "  example:"
    yield from (f"    {line}" for line in example_of(kind, definition).splitlines())


def default_of(field: FieldInfo) -> Any:
    """A field's default as it would be written; `PydanticUndefined` where it is required."""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, Component):
        return default.name if not default.options else {default.name: dict(default.options)}
    return default


def example_of(kind: str, definition: Definition) -> str:
    """A component as a spec has it, its key included; columns give their key themselves.

    A selector stands in no spec, but by itself behind an option of the command line.
    """
    example = definition.example or definition.name
    if kind in ("column", "selector"):
        return example
    key = _KEYS.get(kind, kind)
    if key in ("metrics", "track"):
        example = f"[{example}]"
    outer, _, inner = key.partition(".")
    return f"{outer}: {{{inner}: {example}}}" if inner else f"{key}: {example}"


def _component(kind: str, definition: Definition, origin: str) -> str:
    record = definition.options
    by = "" if origin == "tabcf" else f" (from {origin})"
    lines = [f"### `{definition.name}`{by}", "", definition.summary, ""]
    if record.shorthand is not None:
        key = _key(record, record.shorthand)
        lines += [f"Shorthand: `{definition.name}: …` fills `{key}`.", ""]
    lines += _table(record) if record.model_fields else ["No options."]
    lines += ["", "```yaml", example_of(kind, definition), "```"]
    return "\n".join(lines) + "\n"


class _Row(NamedTuple):
    """An option in words."""

    key: str
    words: str
    default: str
    meaning: str


def _rows(record: type[Options]) -> Iterator[_Row]:
    schema = record_schema(record)
    for name, field in record.model_fields.items():
        key = field.alias or name
        words = type_in_words(nodes_at(schema, (key,))) or "any value"
        meaning = " ".join((field.description or "").split())
        yield _Row(key, words, _default_in_words(field), meaning)


def _table(record: type[Options]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in _rows(record):
        cells = [f"`{row.key}`", row.words, row.default, row.meaning]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default_in_words(field: FieldInfo) -> str:
    default = default_of(field)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, Options):
        return "its own defaults"
    if default is None:
        return "none"
    return f"`{flow(default)}`"


def _key(record: type[Options], name: str) -> str:
    return record.model_fields[name].alias or name


def _summary(record: type[Options]) -> str:
    return " ".join((record.__doc__ or "").split())
