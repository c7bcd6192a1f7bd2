"""Every Python and YAML block of the README and the documentation works as it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabcf.run.builtins import builtin_registry
from tabcf.spec.read import read_spec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def specs() -> Iterator[object]:
    """The YAML blocks that are a whole spec."""
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml"), start=1):
            if block.startswith("tabcf:"):
                yield pytest.param(block, id=f"{page.name}-{number}")


def pages_with_code() -> Iterator[object]:
    for page in PAGES:
        code = "\n".join(blocks(page, "python"))
        if code:
            marks = [pytest.mark.network] if "examples/" in code or "builtin:" in code else []
            yield pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("page", [*pages_with_code()])
def test_python_blocks_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)  # runs/ and the like are written here
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102


@pytest.mark.parametrize("block", [*specs()])
def test_a_whole_spec_in_a_page_is_one_of_the_examples(block: str, tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(block, encoding="utf-8")
    registry = builtin_registry()
    spec = read_spec(path, registry).spec
    assert spec in [read_spec(example, registry).spec for example in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_a_spec_with_its_own_command(path: Path) -> None:
    read_spec(path, builtin_registry())
    assert f"tabcf fit examples/{path.name}\n" in path.read_text(encoding="utf-8")
