"""One page on a run: complete, for itself, and readable in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import tabcf
from tabcf.cli import cli
from tabcf.report.blocks import Table
from tabcf.report.page import _rows, write_report
from tabcf.testing import heavy_group, tiny_ratings, tiny_table

pytest.importorskip("matplotlib")

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id", "label": "title"}},
    "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
    "train": {"epochs": 4, "batch_size": 64, "learning_rate": 0.03},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("items") / "items.csv"
    titles = [f"film <{n}> & co" for n in range(20)]
    pd.DataFrame({"item_id": range(20), "title": titles}).to_csv(path, index=False)
    item = {"id": "item_id", "table": str(path), "label": "title"}
    return SPEC | {"entities": {"user": {"id": "user_id"}, "item": item}}


@pytest.fixture(scope="module")
def folder(spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    tabcf.fit(spec, tiny_ratings(), folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = tmp_path_factory.mktemp("rows") / "rows.csv"
    tiny_ratings(seed=3).to_csv(rows, index=False)
    out = folder.parent / "report.html"
    result = CliRunner().invoke(cli, ["report", str(folder), str(rows), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(out)
    return out


class _Sections(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.ids.append(str(given["id"]))
        for name in ("src", "href"):
            value = given.get(name) or given.get(f"xlink:{name}")
            if value and not value.startswith(("#", "data:")):
                self.loaded.append(value)


def test_a_page_has_all_sections_and_loads_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = _Sections()
    found.feed(text)
    assert found.ids == [
        "model",
        "data",
        "results",
        "training",
        "biases",
        "factors",
        "crosstab",
        "why",
        "calibration",
        "audit",
        "spec",
    ]
    assert found.loaded == []
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert page.stat().st_size < 5_000_000


def test_figures_are_the_runs_own(page: Path, folder: Path) -> None:
    text = page.read_text(encoding="utf-8")
    run = tabcf.load(folder)
    assert f"{run.report.test['rmse']:.4f}" in text
    assert f"{run.report.baselines['global mean']['rmse']:.4f}" in text
    assert f"{run.summary().n_parameters:,}" in text
    assert "seed 42" in text or f"seed {run.spec.seed}" in text


def test_texts_of_the_data_are_no_markup(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "film &lt;3&gt; &amp; co" in text
    assert "film <3>" not in text


def test_models_without_vectors_or_epochs_have_a_page_too(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    rest = {key: value for key, value in spec.items() if key != "train"}
    implicit = {"target": {"implicit": {"positive": "rating >= 4"}}, "model": {"ease": 1.0}}
    run = tabcf.fit(rest | implicit, tiny_ratings())
    text = write_report(run, tmp_path / "ease.html").read_text(encoding="utf-8")
    assert "solved in closed form" in text
    assert "Past items that push it up" in text


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run on a population with a heavy group, with held rows and a simulation."""
    folder = tmp_path_factory.mktemp("audited")
    tables = heavy_group()
    tables.users.to_csv(folder / "users.csv", index=False)
    tables.items.to_csv(folder / "items.csv", index=False)
    events, held = tables.events.iloc[:-300], tables.events.iloc[-300:]
    held.to_csv(folder / "held.csv", index=False)
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {
            "user": {"id": "user_id", "table": str(folder / "users.csv")},
            "item": {"id": "item_id", "table": str(folder / "items.csv"), "label": "title"},
        },
        "model": {"ease": {"l2": 5.0}},
        "split": {"random": {"valid": 0, "test": 0}},
        "rerank": {"mmr": {"of": "kind", "strength": 0.3}},
    }
    run = tabcf.fit(spec, events, folder / "run")
    state = folder / "loop.json"
    run.simulate(rounds=3, k=5, seeds=(0, 1), share=0.2, groups=["item.kind=anime"], state=state)
    asked = ["report", str(run.folder), str(folder / "held.csv"), "-o", str(folder / "page.html")]
    result = CliRunner().invoke(cli, [*asked, "--simulation", str(state)])
    assert result.exit_code == 0, result.output
    return folder


def test_a_page_audits_lists_and_shows_a_simulation(audited: Path) -> None:
    text = (audited / "page.html").read_text(encoding="utf-8")
    run = tabcf.load(audited / "run")
    held = pd.read_csv(audited / "held.csv")
    found = run.audit(data=held)
    assert f"Gini {found.overall['gini']:.3f}" in text
    anime = found.groups.set_index(["group", "users"])["amplification"]["item.kind=anime"]
    cells = "".join(
        f'<td class="number" data-value="{float(anime[users])!r}">{anime[users]:.2f}</td>'
        for users in ("all", "members", "others")
    )
    assert cells in text
    policies = re.findall(r"<tr><td>([^<]*)</td><td class=\"number\"", text)
    for name in ("model", "mmr: {of: kind, strength: 0.3}", "calibrated: {of: kind}"):
        assert name in policies
    assert ">largest amplification of a group<" in text
    rounds = run.simulate(rounds=3, k=5, seeds=(0, 1), share=0.2, groups=["item.kind=anime"]).rounds
    last = rounds[rounds["round"] == 3].groupby("policy")["utility"].mean()
    for policy in ("no recommender", "model", "popular", "random"):
        assert f'data-value="{float(last[policy])!r}"' in text


def test_what_is_no_simulation_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    asked = ["report", str(folder), "-o", str(out), "--simulation"]
    result = CliRunner().invoke(cli, [*asked, str(tmp_path / "none.json")])
    assert "no such file" in str(result.exception)
    assert not out.exists()


def test_a_plain_table_has_a_page(tmp_path: Path) -> None:
    spec = {"tabcf": 1, "target": "price", "model": "tabular", "train": {"epochs": 2}}
    run = tabcf.fit(spec, tiny_table())
    text = write_report(run, tmp_path / "table.html").read_text(encoding="utf-8")
    assert "Layers" in text
    assert 'id="biases"' not in text


def test_cells_are_written_as_told() -> None:
    frame = pd.DataFrame({"n": [1234, 5], "x": [0.5, float("nan")], "is": [True, False]})
    rows = list(_rows(Table(frame, "", {"n": ",d", "x": ".1%"})))
    assert rows[0] == [("1,234", "1234.0", True), ("50.0%", "0.5", True), ("yes", "", False)]
    assert rows[1][1][0] == "–"


def test_a_page_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "report.html"
    result = CliRunner().invoke(cli, ["report", str(folder), "-o", str(out)])
    assert "cannot be written" in str(result.exception)
    assert not out.parent.exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the system has it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("TABCF_REQUIRE_SERVICES"):
            pytest.fail("chromium is needed here")
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1200, "dark")])
def test_an_audited_page_in_a_browser(audited: Path, browser: Any, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else 0)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((audited / "page.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for id in ("audit", "loop"):
        section = tab.locator(f"#{id}")
        assert section.locator("svg").first.bounding_box()["width"] <= width
        assert len(section.screenshot()) > 10_000
    assert errors == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_in_a_browser(page: Path, browser: Any, width: int, scheme: str) -> None:
    """No errors, no sideways scrolling, legible ink, and tables that sort."""
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else 0)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        tab.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    bright = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, paper)]
    assert abs(bright[0] - bright[1]) > 400
    assert (bright[0] > bright[1]) == (scheme == "dark")
    biases = tab.locator("#biases table").first
    head = biases.locator("th", has_text="count").first
    for order in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        column = head.evaluate("cell => cell.cellIndex")
        cells = biases.locator(f"tbody td:nth-child({column + 1})")
        values = [int(text.replace(",", "")) for text in cells.all_inner_texts()]
        assert values == sorted(values, reverse=order == "descending")
    picture = tab.screenshot(full_page=True)
    assert len(picture) > 50_000
    assert errors == []
    context.close()
