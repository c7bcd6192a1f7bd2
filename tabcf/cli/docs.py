"""`tabcf docs`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Show what the component NAME is for, its options, their defaults, and an example.

    NAME is a model, loss, metric, kind of column, split, schedule, engine, tracker or selector,
    built in or a plugin's: huber, nightlife/daypart.
    """
    from tabcf.cli.session import session
    from tabcf.run.registry import compose_registry
    from tabcf.spec.reference import component_text

    click.echo(component_text(compose_registry(session().plugins), name), nl=False)
