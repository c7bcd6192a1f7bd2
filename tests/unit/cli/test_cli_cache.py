"""`tabcf cache` lists what is kept and removes it; `--no-cache` keeps nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tabcf.run import cached
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call


def test_what_is_kept_is_shown_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABCF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cached, "_LEAST_BYTES", 0)
    monkeypatch.chdir(tmp_path)
    tiny_ratings(n_users=10, n_items=8).to_csv("ratings.csv", index=False)
    spec = {
        "tabcf": 1,
        "data": "ratings.csv",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "dot_product_bias",
        "train": {"epochs": 1},
    }
    Path("spec.json").write_text(json.dumps(spec))
    assert call("fit", "spec.json", "--no-cache", "--quiet")[0] == 0
    assert call("cache", "show")[1] == f"       0.0 MB of 4,000 MB in {tmp_path}/cache/encoded\n"
    assert call("fit", "spec.json", "--quiet")[0] == 0
    code, printed, _ = call("cache", "show")
    assert code == 0
    assert "MB" in printed.splitlines()[0]
    assert printed.count("ratings.csv, encoded\n") == 1
    found = json.loads(call("cache", "show", "--json")[1])
    assert {entry["of"] for entry in found["entries"]} == {
        "ratings.csv",
        "ratings.csv, encoded",
        "ratings.csv, held out",
        "ratings.csv, warnings",
    }
    assert call("cache", "clear")[1] == f"4 entries removed from {tmp_path}/cache/encoded\n"
    assert json.loads(call("cache", "show", "--json")[1])["entries"] == []
