"""A first spec for a data file, with comments that say why."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tabcf.data.infer import guess_columns
from tabcf.data.sources import Source, read_source

__all__ = ["draft_spec"]

_USERS = ("user_id", "userid", "user", "customer_id", "uid")
_ITEMS = ("item_id", "itemid", "item", "movie_id", "movieid", "product_id", "iid")
_TARGETS = ("rating", "target", "label", "y", "class", "income", "stars", "score")
_MOST_LEVELS = 11


def draft_spec(data: str, *, target: str | None = None) -> str:
    """YAML text: a recommender where there are user and item ids, a plain table otherwise.

    Args:
        data: A path as the spec shall name it, or `builtin:NAME/TABLE`.
        target: The column to predict; by default one with a usual name, or the last one.

    Raises:
        DataError: The data cannot be read, or the target is not in it.
    """
    source = read_source(data, folder=Path())
    if target is not None:
        source.require([target])
    target = target or _named(source, _TARGETS) or str(source.frame.columns[-1])
    user, item = _named(source, _USERS), _named(source, _ITEMS)
    lines = ["tabcf: 1", f"data: {_text(data)}", *_target_lines(source, target)]
    if user and item and target not in (user, item):
        lines += [
            "entities:",
            f"  user: {{id: {_text(user)}}}  # add `table:` and `columns:` for attributes",
            f"  item: {{id: {_text(item)}}}",
            "model: dot_product_bias  # or embedding_nn, which learns more from attributes",
        ]
    else:
        lines += ["columns:  # or `columns: auto`, which makes the same choices each time"]
        for guess in guess_columns(source, leave_out=[target]):
            comment = f"  # {guess.reason}"
            sign = "" if guess.kind else "# "
            lines.append(f"  {sign}{_text(guess.name)}: {guess.kind or 'category'}{comment}")
        lines += ["model: tabular  # an MLP over embedded categories and numbers"]
    lines += [
        "split: {random: {valid: 0.1, test: 0.1}}  # with times, {time: timestamp} is more honest",
        "train: {epochs: 5, batch_size: 512, learning_rate: 1e-2, weight_decay: 0.1}",
        "seed: 42",
    ]
    return "\n".join(lines) + "\n"


def _named(source: Source, names: tuple[str, ...]) -> str | None:
    by_lower = {str(column).lower(): str(column) for column in source.frame.columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _target_lines(source: Source, target: str) -> list[str]:
    series = source.frame[target]
    values = sorted(series.dropna().unique()) if pd.api.types.is_numeric_dtype(series) else []
    if 2 < len(values) <= _MOST_LEVELS and _named(source, _USERS):
        levels = ", ".join(f"{value:g}" for value in values)
        return [f"target: {{column: {_text(target)}, levels: [{levels}]}}"]
    return [f"target: {_text(target)}"]


def _text(name: str) -> str:
    """A name as YAML writes it: bare where that is safe, else in quotes."""
    is_safe = name.replace("_", "a").replace("-", "a").replace(".", "a").isalnum()
    looks_other = name[:1].isdigit() or name.lower() in ("true", "false", "null", "inf", "nan")
    return name if is_safe and not looks_other else json.dumps(name, ensure_ascii=False)
