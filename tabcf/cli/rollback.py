"""`tabcf rollback`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("version", required=False, type=int)
def command(run: Path, version: int | None) -> None:
    """Answer with an earlier VERSION of RUN from now on; no version is lost.

    Without VERSION it is the one that the version in use grew from.
    """
    from tabcf.run.versions import rollback

    number = rollback(run, version)
    click.echo(f"{run}: version {number} is in use")
