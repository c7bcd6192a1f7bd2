"""`tabcf explain-spec`."""

from __future__ import annotations

import click

from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("spec", type=click.Path())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value, such as train.epochs=3.",
)
@formats
def command(spec: str, overrides: tuple[str, ...], style: str | None) -> None:
    """Show every value of SPEC and where it comes from."""
    import pandas as pd

    from tabcf.cli.session import session
    from tabcf.cli.show import show_frame
    from tabcf.run.registry import compose_registry
    from tabcf.spec.explain import explain
    from tabcf.spec.read import read_spec

    document = read_spec(spec, compose_registry(session().plugins), overrides=overrides)
    rows = explain(document, document.registry)
    frame = pd.DataFrame(rows)
    frame.columns = pd.Index(["path", "value", "origin"])
    frame["value"] = [str(value) for value in frame["value"]]
    show_frame(frame, style)
