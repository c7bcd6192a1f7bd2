"""`tabcf cache`."""

from __future__ import annotations

from datetime import datetime

import click

__all__ = ["command"]


@click.group()
def command() -> None:
    """Show or clear what is kept of large files that were read and encoded."""


@command.command()
@click.option("--json", "style", flag_value="json", help="Print JSON.")
def show(style: str | None) -> None:
    """List what is kept, the latest used first."""
    from tabcf.run.cached import entries

    kept = entries()
    found = kept.all()
    if style == "json":
        import json

        rows = [
            {"key": e.key, "of": e.label, "bytes": e.n_bytes, "used": _time(e.used)} for e in found
        ]
        click.echo(json.dumps({"folder": str(kept.folder), "entries": rows}, indent=1))
        return
    for entry in found:
        click.echo(f"{entry.n_bytes / 1e6:10,.1f} MB  {_time(entry.used)}  {entry.label}")
    total = sum(entry.n_bytes for entry in found) / 1e6
    click.echo(f"{total:10,.1f} MB of {kept.limit / 1e6:,.0f} MB in {kept.folder}")


@command.command()
def clear() -> None:
    """Remove all of it; fits that are running go on."""
    from tabcf.run.cached import entries

    kept = entries()
    n = kept.clear()
    click.echo(f"{n} {'entry' if n == 1 else 'entries'} removed from {kept.folder}")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")
