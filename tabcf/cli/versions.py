"""`tabcf versions`."""

from __future__ import annotations

from pathlib import Path

import click

from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@formats
def command(run: Path, style: str | None) -> None:
    """List the versions of RUN: the fit, and each extension and update since."""
    from dataclasses import asdict

    import pandas as pd

    from tabcf.cli.show import show_frame
    from tabcf.run.versions import read_versions

    frame = pd.DataFrame([asdict(version) for version in read_versions(run)])
    frame["based_on"] = frame["based_on"].astype("Int64")
    if style is None:
        frame["version"] = [
            f"{'* ' if used else '  '}{number}"
            for number, used in zip(frame["version"], frame.pop("is_used"), strict=True)
        ]
        frame["based_on"] = frame["based_on"].astype(object).where(frame["based_on"].notna(), None)
    show_frame(frame, style)
