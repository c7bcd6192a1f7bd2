"""`tabcf evaluate`."""

from __future__ import annotations

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.argument("data", required=False)
@formats
def command(run: str, data: str | None, style: str | None) -> None:
    """Measure RUN on DATA; without DATA, show what was measured when it was trained."""
    from tabcf.cli.show import show_metrics

    loaded = load_run(run)
    if data is not None:
        show_metrics({loaded.spec.model.name: loaded.evaluate(data)}, style)
        return
    report = loaded.report
    show_metrics(
        {
            f"{loaded.spec.model.name} (test)": report.test,
            **{f"{name} (test)": values for name, values in report.baselines.items()},
            f"{loaded.spec.model.name} (valid, fitted on train)": report.valid,
        },
        style,
    )
