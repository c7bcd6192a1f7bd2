"""Every Python and YAML block of the README and the documentation works as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tabcf.cli import cli
from tabcf.run.builtins import builtin_registry
from tabcf.spec.read import read_spec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def files(page: Path) -> dict[str, str]:
    """The blocks with a title: files, by their names."""
    text = page.read_text(encoding="utf-8")
    titled = r'^```\w+ title="([^"]+)"\n(.*?)^```$'
    return dict(re.findall(titled, text, flags=re.MULTILINE | re.DOTALL))


def specs() -> Iterator[object]:
    """The YAML blocks that are a whole spec."""
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml"), start=1):
            if block.startswith("tabcf:"):
                yield pytest.param(block, id=f"{page.name}-{number}")


def pages_with(language: str) -> Iterator[object]:
    for page in PAGES:
        code = "\n".join(blocks(page, language))
        if code:
            all_code = "\n".join([code, *files(page).values()])
            is_fetched = "examples/" in all_code or "builtin:" in all_code
            marks = [pytest.mark.network] if is_fetched else []
            if find_spec("hnswlib") is None and ("build_index" in code or "tabcf index" in code):
                marks.append(pytest.mark.skip(reason="needs hnswlib"))
            yield pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of its own, with the examples, cut to one epoch, and a file of ratings."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for spec in (tmp_path / "examples").rglob("*.yaml"):
        text = spec.read_text(encoding="utf-8")
        spec.write_text(re.sub(r"\bepochs: \d+", "epochs: 1", text), encoding="utf-8")
    rows = [
        f"{user},{item},{1 + (user * item) % 5},881250949" for user in (1, 2) for item in (1, 2)
    ]
    header = "user_id,item_id,rating,timestamp"
    (tmp_path / "ratings.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [*pages_with("python")])
def test_python_blocks_of_a_page_run_in_order(page: Path, folder: Path) -> None:
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102 - our own pages


@pytest.mark.parametrize("page", [*pages_with("console")])
def test_commands_of_a_page_run_in_order(page: Path, folder: Path) -> None:
    """All but those of make, in a folder that has the page's files."""
    for name, content in files(page).items():
        (folder / name).write_text(content, encoding="utf-8")
    for line in "".join(blocks(page, "console")).splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program in ("make", "tabcf")
        if program == "tabcf":
            cli.main(arguments, standalone_mode=False)


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
    name = path.relative_to(ROOT).as_posix()
    assert f"tabcf fit {name}\n" in path.read_text(encoding="utf-8")
