"""What a terminal shows of long reading and encoding, and that nothing is shown elsewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import tabcf
from tabcf.cli import progress
from tabcf.cli.progress import Shown
from tabcf.run.progress import Silent
from tabcf.testing import tiny_ratings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, as the progress takes them."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> Shown:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Shown()


def test_long_reading_shows_rows_a_second_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    stream = Terminal()
    bar = shown(monkeypatch, stream)
    bar.rows("reading", 1_000, 0.01)
    assert stream.getvalue() == ""
    clock[0] += 2.0
    bar.rows("reading", 5_000_000, 0.25)
    bar.stop()
    text = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", stream.getvalue())
    assert "reading" in text
    assert "5,000,000 rows, 2.5 M rows/s 6 s left" in text


def test_short_reading_and_other_streams_show_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    for stream, seconds in ((Terminal(), 0.5), (io.StringIO(), 50.0)):
        bar = shown(monkeypatch, stream)
        for share in (0.1, 0.5, 1.0):
            bar.rows("reading", 10, share)
            clock[0] += seconds / 3
        bar.stop()
        assert stream.getvalue() == ""


def test_a_fit_tells_of_rows_that_it_reads_and_encodes(tmp_path: Path) -> None:
    told: list[tuple[str, int, float]] = []

    class Told(Silent):
        def rows(self, what: str, n_rows: int, share: float) -> None:
            told.append((what, n_rows, share))

    ratings = tiny_ratings(n_users=10, n_items=8)
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    spec = {
        "tabcf": 1,
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "dot_product_bias",
        "train": {"epochs": 1},
    }
    run = tabcf.fit(spec, tmp_path / "ratings.csv", progress=Told())
    assert told[0] == ("reading", len(ratings), 1.0)
    n_train = run.report.n_rows["train"]
    assert told[1:] == [
        ("encoding", n_train // 4, 0.25),
        ("encoding", n_train // 2, 0.5),
        ("encoding", n_train, 1.0),
    ]
