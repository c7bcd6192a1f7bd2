"""`tabcf index`."""

from __future__ import annotations

import click

from tabcf.cli.session import load_run

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--recall",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the exact lists that is to be found.",
)
@click.option("--m", default=16, show_default=True, help="Edges of an item.")
@click.option(
    "--ef-construction", default=100, show_default=True, help="Items kept in view while building."
)
@click.option("--ef", default=64, show_default=True, help="Items kept in view in a search.")
@click.option(
    "--places",
    type=click.IntRange(min=1),
    help="Places of the lists that the share is measured for; beyond them lists are exact.",
)
@click.option("--no-retrieve", is_flag=True, help="Not of RUN's first stage, but of RUN's model.")
@click.option("--json", "style", flag_value="json", help="Print JSON.")
def command(
    run: str,
    recall: float,
    m: int,
    ef_construction: int,
    ef: int,
    places: int | None,
    no_retrieve: bool,
    style: str | None,
) -> None:
    """Build an approximate index of RUN's items and add it to RUN, in place of any other.

    It finds nearly the exact lists, and sooner where there are very many items: `tabcf recommend`
    uses it from 100,000 items on. Of two stages it is an index of the first one, which finds the
    items, unless --no-retrieve is given. How much it finds is measured for some of RUN's users;
    `ef` is doubled until that is the wished share. Needs pip install 'tabcf[ann]'.
    """
    import json
    from dataclasses import asdict

    loaded = load_run(run)
    info = loaded.build_index(
        recall=recall,
        m=m,
        ef_construction=ef_construction,
        ef=ef,
        places=places,
        retrieve=not no_retrieve,
    )
    loaded.save_index()
    click.echo(json.dumps(asdict(info), indent=1) if style == "json" else str(info))
