"""`tabcf schema`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command()
def command() -> None:
    """Print the JSON Schema of specs: save it as tabcf.schema.json for your editor."""
    import json

    from tabcf.cli.session import session
    from tabcf.run.registry import compose_registry
    from tabcf.spec.schema import json_schema

    click.echo(json.dumps(json_schema(compose_registry(session().plugins)), indent=2))
