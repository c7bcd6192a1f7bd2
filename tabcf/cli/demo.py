"""`tabcf demo`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabcf.errors import RunError

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["command"]

_USER = 196
_ITEM = "Star Wars"


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where the two runs are saved.",
)
@click.option("--quiet", is_flag=True, help="No line an epoch.")
def command(out: Path, quiet: bool) -> None:
    """Fit two recommenders on MovieLens 100K and show what they learnt."""
    from tabcf.cli.progress import Shown
    from tabcf.run.fit import fit
    from tabcf.run.folder import next_free
    from tabcf.run.run import Run

    runs = []
    for title, name in (
        ("1. Ratings: how many stars will somebody give?", "movielens"),
        ("2. Watching: what will somebody watch next?", "movielens-topk"),
    ):
        spec = _example(f"{name}.yaml")
        click.secho(f"\n{title}", bold=True)
        click.echo(f"   {spec}\n")
        run = fit(spec, progress=None if quiet else Shown())
        assert isinstance(run, Run)
        run.save(next_free(out, run.name))
        _show_test(run)
        runs.append(run)
    ratings, watching = runs
    _show_lists(watching)
    _show_biases(watching, ratings)
    _show_next(ratings, watching)


def _example(name: str) -> Path:
    """A spec that lies in the package, or, in a clone, beside it."""
    packaged = Path(str(files("tabcf"))) / "examples" / name
    in_clone = Path(str(files("tabcf"))).parent / "examples" / name
    for path in (packaged, in_clone):
        if path.is_file():
            return path
    raise RunError(f"{name}: not found in this installation of tabcf; install it again")


def _show_test(run: Run) -> None:
    from tabcf.cli.show import show_metrics

    report = run.report
    click.echo(
        f"\nOn {report.n_rows['test']:,} test events that it has not seen "
        f"(fitted on {report.fitted_on} in {report.cpu_seconds:.1f} CPU-s):"
    )
    show_metrics(run.test_table)
    click.echo(f"saved in {run.folder}")


def _show_lists(run: Run) -> None:
    from tabcf.cli.show import show_frame

    click.secho(f"\nTen films for user {_USER}, none of which they had in training", bold=True)
    show_frame(run.recommend(_USER, k=10).drop(columns=["user_id", "basis"]))
    click.secho(f"\nThe five films nearest to {_ITEM} (1977)", bold=True)
    show_frame(run.similar("item", _item_id(run), k=5))


def _item_id(run: Run) -> Any:
    entity = run.trained.encoder.entities["item"]
    frame = entity.frame
    found = frame[(frame["title"] == _ITEM) & (frame["year"] == 1977)]
    return found[entity.plan.id].iloc[0].item()


def _show_biases(watching: Run, ratings: Run) -> None:
    """Biases come from a model of ratings that has them: one more small fit."""
    from tabcf.cli.show import show_frame
    from tabcf.run.fit import fit
    from tabcf.run.run import Run

    spec = {
        **ratings.spec.model_dump(mode="json", exclude={"columns", "entities", "model"}),
        "entities": {
            "user": {"id": "user_id"},
            "item": {
                "id": "item_id",
                "table": "builtin:movielens-100k/items",
                "label": "title",
            },
        },
        "model": {"dot_product_bias": {"factors": 50, "y_range": [0, 5.5]}},
        "train": {"epochs": 5, "batch_size": 512, "learning_rate": 2e-2, "weight_decay": 0.1},
    }
    run = fit(spec)
    assert isinstance(run, Run)
    biases = run.biases("item").reset_index()
    for title, frame in (
        ("The ten highest item biases", biases.head(10)),
        ("The ten lowest", biases.tail(10).iloc[::-1]),
    ):
        click.secho(f"\n{title}, beside those films' mean ratings", bold=True)
        show_frame(frame)
    click.echo(
        "\nA bias is what is left of a film's ratings once it is known who rated it: a film seen "
        "only\nby people who like everything has a high mean and a low bias."
    )


def _show_next(ratings: Run, watching: Run) -> None:
    click.secho("\nNext", bold=True)
    for line in (
        f"tabcf recommend {watching.folder} --user {_USER}",
        f"tabcf similar {watching.folder} --item 50 --metric dot",
        f"tabcf inspect {ratings.folder}",
        f"tabcf fit {_example('movielens.yaml')} --set train.epochs=10",
        "tabcf init ratings.csv --target rating",
    ):
        click.echo(f"  {line}")
