"""`tabcf onboard`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabcf.cli.session import load_run
from tabcf.cli.show import formats

if TYPE_CHECKING:
    import pandas as pd

    from tabcf.recommend.onboarding.interview import Interview
    from tabcf.recommend.onboarding.scale import AnswerScale
    from tabcf.run.run import Run

__all__ = ["command"]

_UNKNOWN, _UNDO, _QUIT = "?", "u", "q"


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter("expected numbers, such as 1,3,5") from None


@click.command()
@click.argument("run", type=click.Path())
@click.option(
    "--selector",
    "selectors",
    multiple=True,
    help="Who chooses the questions: a name, or YAML such as '{tree: {depth: 4}}'.",
)
@click.option("--questions", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("-k", default=5, show_default=True, type=click.IntRange(min=1), help="List length.")
@click.option(
    "--attributes", multiple=True, metavar="COLUMN=VALUE", help="What is known of the user."
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="ITEM=ANSWER",
    help="What the user says before any question, by the item's id or label; several allowed.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Keep every answer in this file, and go on with those that are there.",
)
@click.option("--replay", "data", help="Replay interviews with users of these rows instead.")
@click.option(
    "--at",
    default="1,3,5,10,20",
    show_default=True,
    callback=_numbers,
    help="With --replay: after how many questions to measure.",
)
@click.option("--halvings", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, help="With --replay: of halves and draws.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="With --replay: draw the curves to a file."
)
@formats
def command(
    run: str,
    selectors: tuple[str, ...],
    questions: int,
    k: int,
    attributes: tuple[str, ...],
    answers: tuple[str, ...],
    resume: Path | None,
    data: str | None,
    at: list[int],
    halvings: int,
    seed: int,
    plot: Path | None,
    style: str | None,
) -> None:
    """Ask a new user about items; the list of recommendations follows every answer.

    With --replay, measure selectors instead: interviews with users of given rows whom RUN has never
    seen, half of whose rows are their answers and the other half what is predicted.
    """
    if data is not None:
        if attributes or answers or resume:
            raise click.UsageError("--attributes, --answer and --resume do not go with --replay")
        _replay(load_run(run), data, selectors, at, halvings, seed, plot, style)
        return
    if plot is not None or style is not None:
        raise click.UsageError("--plot, --json and --csv go with --replay")
    if len(selectors) > 1:
        raise click.UsageError("--selector: an interview has one; several go with --replay")
    pairs = [pair.partition("=") for pair in attributes]
    if any(not sign for _, sign, _ in pairs):
        raise click.UsageError("--attributes: expected COLUMN=VALUE")
    told = [pair.rpartition("=") for pair in answers]
    if any(not sign for _, sign, _ in told):
        raise click.UsageError("--answer: expected ITEM=ANSWER")
    loaded = load_run(run)
    interview = loaded.interview(
        selectors[0] if selectors else None,
        attributes={name: value for name, _, value in pairs} or None,
        resume=resume if resume is not None and resume.exists() else None,
        is_text=True,
    )
    if len(interview):
        click.echo(f"{len(interview)} questions are answered already")
    _tell(interview, [(item, answer) for item, _, answer in told])
    _interview(interview, questions, k, resume)
    if loaded.advice is not None:
        click.echo(loaded.advice, err=True)


def _tell(interview: Interview, told: list[tuple[str, str]]) -> None:
    """Take answers that come before any question, and say about which items nothing is known."""
    from tabcf.recommend.basis import TRAINED

    keys = _keys(interview.scale)
    for item, answer in told:
        given = None if answer == _UNKNOWN else keys.get(answer, answer)
        interview.answer(item, given, is_text=True)
    ratings = interview.ratings
    for number in (ratings["basis"] != TRAINED).to_numpy().nonzero()[0]:
        row = ratings.iloc[number]
        click.echo(f"{ratings.columns[0]} {row.iloc[0]}: {row['basis']}")


def _interview(interview: Interview, questions: int, k: int, path: Path | None) -> None:
    from tabcf.cli.show import show_frame

    keys = _keys(interview.scale)
    while len(interview) < questions:
        asked = interview.ask()
        if asked.empty:
            click.echo("every item was asked about")
            break
        item = asked.iloc[0]
        click.secho(f"\n{len(interview) + 1}/{questions}  {_title(asked)}", bold=True)
        try:
            said = _said(keys, interview.scale)
        except click.Abort:
            # The end of what is typed, or Ctrl-C: answers are kept as with `q`.
            click.echo()
            said = _QUIT
        if said == _QUIT:
            if not len(interview):
                click.echo("nothing was answered, and nothing is saved")
                return
            path = path or _free(Path())
            click.echo(f"saved in {interview.save(path)}; --resume {path} goes on")
            return
        if said == _UNDO:
            if not len(interview):
                click.echo("there is no answer to take back")
                continue
            interview.undo()
        else:
            interview.answer(item.iloc[0], None if said == _UNKNOWN else said)
        if path is not None:
            interview.save(path)
        show_frame(interview.recommend(k), title=f"after {interview.n_known} answers")
    if path is not None:
        click.echo(f"saved in {interview.save(path)}")


def _keys(scale: AnswerScale) -> dict[str, Any]:
    """The answer behind each key; no keys where any number is an answer."""
    if scale.target.kind == "rating":
        return {f"{level:g}": level for level in scale.choices}
    return {str(key): choice for key, choice in enumerate(reversed(scale.choices), start=1)}


def _said(keys: dict[str, Any], scale: AnswerScale) -> Any:
    """What was typed: an answer, `?`, `u` or `q`."""
    from tabcf.errors import DataError

    if scale.target.kind == "rating":
        shown = f"{next(iter(keys))}-{list(keys)[-1]}"
    else:
        shown = ", ".join(f"{key} {choice}" for key, choice in keys.items()) or "a number"
    text = f"{shown}, ? don't know, u undo, q save and quit"
    while True:
        typed = click.prompt(text, prompt_suffix="\n> ", type=str).strip()
        if typed.lower() in (_UNKNOWN, _UNDO, _QUIT):
            return typed.lower()
        try:
            return scale.checked(keys.get(typed, typed))
        except DataError as error:
            click.echo(str(error))


def _title(asked: pd.DataFrame) -> str:
    """An item in one line: what its table says of it, or its id where that is all."""
    item, *about = asked.iloc[0].dropna().astype(str)
    first, *others = about or [item]
    return f"{first} ({', '.join(others)})" if others else first


def _free(folder: Path) -> Path:
    """`interview-n.json` with the lowest n from 1 that is not taken."""
    number = 1
    while (folder / f"interview-{number}.json").exists():
        number += 1
    return folder / f"interview-{number}.json"


def _replay(
    run: Run,
    data: str,
    selectors: tuple[str, ...],
    at: list[int],
    halvings: int,
    seed: int,
    plot: Path | None,
    style: str | None,
) -> None:
    from tabcf.cli.show import show_frame
    from tabcf.inspection.plots import plot_replay

    found = run.replay_interviews(data, selectors=selectors, at=at, n_halvings=halvings, seed=seed)
    summary = found.summary(seed=seed)
    reference = summary[summary["difference"].isna()]["selector"].iloc[0]
    show_frame(summary, style, title=f"differences to {reference}; means over users")
    if plot is not None:
        plot_replay(summary, found.metric, plot)
        click.echo(f"drawn in {plot}", err=True)
