"""Sections as one HTML file that needs nothing from elsewhere."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tabcf import __version__
from tabcf.audit.result import LoopResult
from tabcf.errors import RunError
from tabcf.evaluation.evaluate import describe
from tabcf.report.blocks import Section, Table
from tabcf.report.sections import sections_of
from tabcf.run.run import Run

__all__ = ["write_report"]


def write_report(
    run: Run, path: str | Path, *, data: Any = None, simulation: LoopResult | None = None
) -> Path:
    """Write what a run is, what it is worth and why it answers as it does, as one HTML file.

    Args:
        run: What to tell of.
        path: The file; one that is there is replaced, when the page is complete.
        data: Held rows with the target, for calibration and accuracy; a frame or a path.
        simulation: What `Run.simulate` gave, or `LoopResult.read` of its state file.

    Raises:
        RunError: The file cannot be written.
        DataError: The rows do not fit the run.
        MissingExtraError: matplotlib is not installed.
    """
    path = Path(path)
    text = _rendered(run, sections_of(run, data, simulation=simulation))
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _rendered(run: Run, sections: list[Section]) -> str:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        files("tabcf.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    test = f"; test {describe(run.report.test)}" if run.report.test else ""
    return template.render(
        title=f"{run.name}: {run.label}",
        summary=f"Fitted on {run.report.fitted_on}{test}.",
        sections=sections,
        columns=_columns,
        rows=_rows,
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _columns(table: Table) -> list[tuple[str, bool]]:
    frame = table.frame
    return [
        (str(name).replace("_", " "), frame[name].dtype.kind in "iuf") for name in frame.columns
    ]


def _rows(table: Table) -> Iterator[list[tuple[str, str, bool]]]:
    """Each cell as text, as the number to sort by, and whether it is one."""
    frame = table.frame
    kinds = [is_number for _, is_number in _columns(table)]
    formats = [table.formats.get(str(name)) for name in frame.columns]
    for row in frame.itertuples(index=False):
        yield [
            (_text(value, form), _number(value) if is_number else "", is_number)
            for value, form, is_number in zip(row, formats, kinds, strict=True)
        ]


def _text(value: Any, form: str | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if form is not None:
        return format(int(value) if form.endswith("d") else value, form)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> str:
    # Gaps come last in either order of a reader's first click.
    return "1e308" if isinstance(value, float) and math.isnan(value) else repr(float(value))
