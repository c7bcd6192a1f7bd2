"""`tabcf init`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("data")
@click.option("--target", help="The column to predict; guessed by default.")
@click.option("--out", type=click.Path(path_type=Path), help="A file to write; never overwritten.")
def command(data: str, target: str | None, out: Path | None) -> None:
    """Write a commented first spec for DATA, a file or a built-in table."""
    from tabcf.errors import RunError
    from tabcf.run.draft import draft_spec

    text = draft_spec(data, target=target)
    if out is None:
        click.echo(text, nl=False)
        return
    if out.exists():
        raise RunError(f"{out}: already exists; specs are never overwritten")
    out.write_text(text, encoding="utf-8")
    click.echo(str(out))
