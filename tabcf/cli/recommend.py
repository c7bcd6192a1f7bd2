"""`tabcf recommend`."""

from __future__ import annotations

from typing import Any

import click

from tabcf.cli.session import load_run, yaml_values
from tabcf.cli.show import formats

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option("--user", "users", multiple=True, help="A user's id; several are allowed.")
@click.option("--users", "attributes", help="A file of attributes of users, new ones included.")
@click.option("--interactions", metavar="FILE", help="Events of new users, who are found by them.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--context", multiple=True, metavar="COLUMN=VALUE", help="An event column's value.")
@click.option("--where", help="Conditions on items, such as 'year >= 1990 and genres has War'.")
@click.option("--deny", multiple=True, help="An item's id that is never listed; several allowed.")
@click.option("--max-per", multiple=True, metavar="COLUMN=N", help="At most N of each value.")
@click.option("--retrieve", metavar="RUN", help="A run that finds the items; RUN orders them.")
@click.option("--no-retrieve", is_flag=True, help="Leave out RUN's own first stage.")
@click.option("--retrieved", type=click.IntRange(min=1), help="How many the first stage finds.")
@click.option("--rerank", multiple=True, metavar="NAME", help="Such as 'mmr: {of: genres}'.")
@click.option("--no-rerank", is_flag=True, help="Leave out RUN's own re-rankers.")
@click.option("--seen", is_flag=True, help="List what a user has had as well.")
@click.option("--exact", is_flag=True, help="Leave the run's index alone, if it has one.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Write a .csv or .parquet file, some thousand users at a time, in place of printing.",
)
@formats
def command(
    run: str,
    users: tuple[str, ...],
    attributes: str | None,
    interactions: str | None,
    k: int,
    context: tuple[str, ...],
    where: str | None,
    deny: tuple[str, ...],
    max_per: tuple[str, ...],
    retrieve: str | None,
    no_retrieve: bool,
    retrieved: int | None,
    rerank: tuple[str, ...],
    no_rerank: bool,
    seen: bool,
    exact: bool,
    out: str | None,
    style: str | None,
) -> None:
    """List the items that RUN puts first for each user.

    Where RUN has an index (`tabcf index`) and 100,000 items or more, lists of up to 100 places come
    from it unless an option narrows them, and are nearly the exact ones.

    With --interactions lists are for the users of that file, whose attributes --users may give;
    RUN's model makes them of all items, without its first stage, and re-rankers order them.

    With --out the file of --users may be larger than memory.
    """
    import pandas as pd

    from tabcf.cli.show import show_frame
    from tabcf.recommend.recommender import recommend
    from tabcf.run.in_blocks import users_of, write_frames

    if interactions is not None:
        beside = {"--user": users, "--retrieve": retrieve, "--retrieved": retrieved}
        for option in (name for name, value in beside.items() if value):
            raise click.UsageError(f"{option} does not go with --interactions")
    elif bool(users) == bool(attributes):
        raise click.UsageError("give --user, --users or --interactions")
    pairs = [pair.partition("=") for pair in context]
    if any(not sign for _, sign, _ in pairs):
        raise click.UsageError("--context: expected COLUMN=VALUE")
    try:
        caps = [(name, int(n)) for name, _, n in (cap.partition("=") for cap in max_per)]
    except ValueError:
        raise click.UsageError("--max-per: expected COLUMN=N, such as genres=3") from None
    rerankers = yaml_values("--rerank", rerank) if rerank else not no_rerank
    loaded = load_run(run)
    common: dict[str, Any] = {
        "k": k,
        "context": {name: value for name, _, value in pairs},
        "exclude_seen": not seen,
        "where": where,
        "deny": deny,
        "max_per": dict(caps),
        "index": False if exact else "auto",
        "is_text": True,
    }
    if interactions is not None:
        newcomers = loaded.fold_in(interactions, attributes=attributes)
        frames = iter([newcomers.recommend(rerank=rerankers, **common)])
    else:
        retriever = not no_retrieve if retrieve is None else load_run(retrieve).trained
        reranking = loaded.reranking(rerankers)
        frames = (
            recommend(
                loaded.trained,
                some,
                retrieve=retriever,
                n_retrieved=retrieved,
                rerank=reranking,
                **common,
            )
            for some in users_of(attributes or users)
        )
    if out is not None:
        click.echo(f"{write_frames(frames, out):,} rows in {out}")
        return
    show_frame(pd.concat(frames, ignore_index=True), style)
    if loaded.advice is not None:
        click.echo(loaded.advice, err=True)
