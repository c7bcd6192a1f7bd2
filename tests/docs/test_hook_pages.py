"""Every hook has a page with its exact signature, an example that runs and a test that passes."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tabcf.plugin.hooks import HOOKS, Hooks
from tests.docs.test_code_blocks import ROOT, blocks

PAGES = ROOT / "docs" / "reference" / "hooks"


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_page_with_its_signature(hook: str) -> None:
    page = PAGES / f"{hook}.md"
    signature, example, test = blocks(page, "python")
    function = getattr(Hooks, hook)
    written = f"    def {hook}{inspect.signature(function)}: ...".replace("'", "")
    assert written in signature
    assert f"def {hook}(self):" in example
    assert test
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == ["Example", "Test"]


def test_there_is_no_page_without_a_hook() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(HOOKS)


def test_the_tests_of_all_pages_pass(tmp_path: Path) -> None:
    """As a plugin's author runs them: each page as one file, under pytest."""
    for hook in HOOKS:
        code = "\n\n".join(blocks(PAGES / f"{hook}.md", "python"))
        if "\nclass Test" not in code:
            *above, test = blocks(PAGES / f"{hook}.md", "python")
            lines = "".join(f"    {line}".rstrip() + "\n" for line in test.splitlines())
            code = "\n\n".join(above) + f"\n\ndef test_page(tmp_path, monkeypatch):\n{lines}"
            code = code.replace(
                "monkeypatch):\n", "monkeypatch):\n    monkeypatch.chdir(tmp_path)\n"
            )
        (tmp_path / f"test_{hook}.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
