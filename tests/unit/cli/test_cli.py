from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabcf.cli import main

SPEC = """\
tabcf: 1
data: ratings.csv
target: {column: rating, levels: [1, 5]}
entities:
  user: {id: user_id}
  item: {id: item_id, table: items.csv, label: title}
model: {dot_product_bias: {factors: 4, y_range: [0, 6]}}
train: {epochs: 2, batch_size: 32, learning_rate: 1e-2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec with its data, and a run fitted by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(400), 20)
    rating = np.where((users + items) % 2 == 0, 5, 1)
    frame = pd.DataFrame({"user_id": users, "item_id": items, "rating": rating})
    frame.iloc[:350].to_csv(folder / "ratings.csv", index=False)
    titles = pd.DataFrame({"item_id": range(20), "title": [f"Film {i}" for i in range(20)]})
    titles.to_csv(folder / "items.csv", index=False)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    out = folder / "run"
    code, printed, _ = call("fit", str(folder / "spec.yaml"), "--out", str(out), "--quiet")
    assert (code, printed.strip()) == (0, str(out))
    return str(out)


def call(*arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process; its exit status and what it printed."""
    patch = pytest.MonkeyPatch()
    out, err = StringIO(), StringIO()
    patch.setattr(sys, "argv", ["tabcf", *arguments])
    patch.setattr(sys, "stdout", out)
    patch.setattr(sys, "stderr", err)
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        patch.undo()
    return code, out.getvalue(), err.getvalue()


def test_recommend_prints_json_and_says_what_ratings_are_worth(run: str) -> None:
    code, printed, said = call("recommend", run, "--user", "3", "-k", "4", "--json")
    rows = json.loads(printed)
    assert code == 0
    assert {row["user_id"] for row in rows} == {3}
    assert rows[0].keys() == {"user_id", "rank", "item_id", "title", "score", "basis"}
    assert "popularity" in said


def test_an_unknown_user_gets_a_list_that_rests_on_the_average(run: str) -> None:
    code, printed, _ = call("recommend", run, "--user", "nobody", "-k", "2", "--csv")
    assert code == 0
    assert printed.count("average") == 2


def test_predict_prints_the_prediction_last(run: str, folder: Path) -> None:
    code, printed, _ = call("predict", run, str(folder / "ratings.csv"), "--limit", "3", "--csv")
    assert code == 0
    assert printed.splitlines()[0] == "user_id,item_id,rating,basis,prediction"
    assert len(printed.splitlines()) == 4


def test_evaluate_shows_the_baselines_of_the_fit(run: str) -> None:
    code, printed, _ = call("evaluate", run, "--json")
    assert code == 0
    assert "user + item biases (test)" in json.loads(printed)


def test_similar_and_inspect(run: str) -> None:
    code, printed, _ = call("similar", run, "--item", "3", "-k", "2")
    assert code == 0
    assert "cosine" in printed
    code, printed, _ = call("inspect", run, "--biases", "item", "--csv")
    assert code == 0
    assert printed.startswith("item_id,title,bias,mean,count")
    code, printed, _ = call("inspect", run)
    assert code == 0
    assert "factors" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["recommend", "RUN"], "give --user, --users or --in"),
        (["recommend", "RUN", "--user", "1", "--context", "noon"], "expected COLUMN=VALUE"),
        (["similar", "RUN", "--item", "film x"], "item_id 'film x' is unknown"),
        (["inspect", "RUN", "--biases", "shop"], "no entity 'shop'; known: user, item"),
        (["evaluate", "nowhere"], "expected the folder of a run; no such folder"),
        (["fit", "FOLDER/spec.yaml", "--set", "train.epochs=x"], "train.epochs"),
        (["fit", "FOLDER/spec.yaml", "--out", "RUN"], "already exists"),
        (["predict", "RUN", "nowhere.csv"], "no file 'nowhere.csv'"),
    ],
)
def test_a_user_error_is_said_on_stderr_with_status_2(
    arguments: list[str], expected: str, run: str, folder: Path
) -> None:
    filled = [a.replace("RUN", run).replace("FOLDER", str(folder)) for a in arguments]
    code, printed, said = call(*filled)
    assert code == 2
    assert expected in said
    assert printed == ""
    assert "Traceback" not in said


def test_init_writes_a_spec_that_fits_and_never_overwrites(folder: Path) -> None:
    out = folder / "drafted.yaml"
    code, _, _ = call("init", str(folder / "ratings.csv"), "--out", str(out))
    assert code == 0
    code, _, said = call("init", str(folder / "ratings.csv"), "--out", str(out))
    assert code == 2
    assert "never overwritten" in said
    code, printed, _ = call("fit", str(out), "--out", str(folder / "drafted"), "--quiet")
    assert code == 0
    assert printed.strip() == str(folder / "drafted")


def test_lr_find_suggests_a_rate_and_draws(folder: Path) -> None:
    plot = folder / "rates.png"
    code, printed, _ = call("lr-find", str(folder / "spec.yaml"), "--plot", str(plot))
    assert code == 0
    rate = float(printed.split(":")[1])
    assert 1e-6 < rate < 10
    assert plot.stat().st_size > 1000


def test_schema_and_explain_spec(folder: Path) -> None:
    code, printed, _ = call("schema")
    assert code == 0
    assert "$schema" in json.loads(printed)
    code, printed, _ = call("explain-spec", str(folder / "spec.yaml"), "--set", "seed=7", "--json")
    origins = {row["path"]: row["origin"] for row in json.loads(printed)}
    assert code == 0
    assert origins["seed"] == "--set"
    assert origins["train.weight_decay.default"] == "default"
    assert origins["train.epochs"].startswith(str(folder / "spec.yaml"))


def test_help_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from tabcf.cli import cli; "
        "cli.main(['--help'], standalone_mode=False); "
        "print(sorted({'torch', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines()[-1] == "[]"
    assert "recommend" in printed
