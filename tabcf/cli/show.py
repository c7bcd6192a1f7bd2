"""How commands print: tables on a terminal, JSON or CSV for pipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

    from tabcf.run.cross_validation import CrossValidation

__all__ = ["formats", "show_folds", "show_frame", "show_measured", "show_metrics"]


def formats(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--csv` to a command, as the argument `style`."""
    command = click.option("--json", "style", flag_value="json", help="Print JSON.")(command)
    return click.option("--csv", "style", flag_value="csv", help="Print CSV.")(command)


def show_frame(frame: pd.DataFrame, style: str | None = None, *, title: str | None = None) -> None:
    """Print a frame; numbers have four decimals on a terminal and all of them elsewhere."""
    if style == "json":
        click.echo(frame.to_json(orient="records", force_ascii=False, indent=1))
        return
    if style == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in frame.columns:
        is_number = frame[name].dtype.kind in "iuf"
        table.add_column(str(name), justify="right" if is_number else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_text(value)) for value in row))
    _console().print(table)


def show_metrics(rows: Mapping[str, Mapping[str, float]], style: str | None = None) -> None:
    """Print metrics, one line a model or part."""
    import pandas as pd

    if style == "json":
        click.echo(json.dumps(rows, indent=1))
        return
    frame = pd.DataFrame.from_dict({**rows}, orient="index").rename_axis("").reset_index()
    show_frame(frame, style)


def show_measured(
    rows: Mapping[str, Mapping[str, float]], groups: Mapping[str, pd.DataFrame], style: str | None
) -> None:
    """Print metrics, and below them those of warm and cold rows apart where any are cold.

    Args:
        rows: One line a model or part.
        groups: What `evaluate_groups` gives, by the line that it belongs to.
        style: `json` and `csv` have one line a group behind the others.
    """
    from tabcf.evaluation.groups import has_cold_rows

    apart = {name: frame for name, frame in groups.items() if has_cold_rows(frame)}
    if style is not None:
        lines: dict[str, Mapping[str, float]] = {
            f"{name}, {group}": dict(zip(map(str, line.index), line, strict=True))
            for name, frame in apart.items()
            for group, line in frame.set_index("group").astype(object).iterrows()
        }
        show_metrics({**rows, **lines}, style)
        return
    show_metrics(rows)
    for name, frame in apart.items():
        show_frame(frame, title=f"{name}, by whether training had events of user and item")


def show_folds(found: CrossValidation, style: str | None = None) -> None:
    """Print what came of each fold, mean and standard deviation, and those of the baselines."""
    table, summary = found.table, found.summary
    if style == "json":
        models = {
            str(model): {row.metric: {"mean": row.mean, "sd": row.sd} for row in rows.itertuples()}
            for model, rows in summary.set_index("model").groupby(level=0, sort=False)
        }
        state = {"folder": str(found.folder), "n_folds": found.n_folds}
        state |= {"failures": dict(found.failures), "models": models}
        folds = table.drop(index=["mean", "sd"]).to_dict("index")
        click.echo(json.dumps({**state, "folds": folds}, indent=1))
        return
    others = summary[summary["model"] != found.label]
    for model, rows in others.groupby("model", sort=False):
        for part in ("mean", "sd"):
            values = dict(zip(rows["metric"], rows[part], strict=True))
            table.loc[f"{model}, {part}"] = [values.get(name) for name in table.columns]
    n_rows = [report.n_rows["test"] for report in found.reports.values()]
    seconds = sum(report.cpu_seconds for report in found.reports.values())
    if style is None:
        click.echo(
            f"{found.label}: test, {len(found.folds)} of {found.n_folds} folds, "
            f"{sum(n_rows):,} rows; {seconds:.1f} CPU-s; sd is that of a fold"
        )
    show_frame(table.rename_axis("").reset_index(), style)


def _console() -> Any:
    """A console that never cuts a table short when the output is no terminal."""
    import sys

    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def _text(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
