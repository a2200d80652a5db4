"""Every block of code in the documentation runs, and every console block shows what its commands print.

The python blocks of a page run one after the other in one namespace. In console blocks `…` stands for anything, and
`http://localhost:8000` for a real server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.loopback import Answer, LoopbackServer

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WEB = "localhost:8000"

# Run elsewhere: by tests/integration/test_packaging.py in an empty environment, and by .ci/run.
RUN_ELSEWHERE = {"pip install . && hopline demo", "pip install tox && tox run-parallel --parallel auto"}


@dataclass
class Block:
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    code: str


def blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and not token.info.startswith("{"):
            yield Block(page, (token.map or [0])[0] + 2, token.info.strip(), token.content)


def id_of(page: Path) -> str:
    return page.name


@pytest.fixture
def web() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        server.redirect("/redirect", "/items")
        server.answer("/large", Answer(body=b"x" * 5000))
        server.answer("/missing", Answer(404))
        yield server


@pytest.fixture
def uninstrumented() -> Iterator[None]:
    """What a page instruments does not stay so."""
    yield
    for instrumentor in entry_points(group="opentelemetry_instrumentor"):
        if instrumentor.value.startswith("hopline.") and instrumentor.module in sys.modules:
            instance = instrumentor.load()()
            if instance.is_instrumented_by_opentelemetry:
                instance.uninstrument()


def run_python(blocks: list[Block], web: LoopbackServer) -> None:
    namespace = {"__name__": "__main__"}
    for block in blocks:
        # Line numbers as on the page, for tracebacks.
        code = "\n" * (block.line - 1) + block.code.replace(WEB, f"localhost:{web.port}")
        exec(compile(code, str(block.page), "exec"), namespace)


def run_console(block: Block, web: LoopbackServer, environment: dict[str, str]) -> None:
    # The commands of a block run in one shell, which echoes a line before each one's output.
    commands = [line[2:] for line in block.code.splitlines() if line.startswith("$ ")]
    if RUN_ELSEWHERE.issuperset(commands):
        return
    shown = re.sub(r"^\$ .*\n?", "", block.code, flags=re.MULTILINE).strip("\n")
    script = "\n".join(commands).replace(WEB, f"localhost:{web.port}")
    finished = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    printed = finished.stdout.strip("\n").replace(f"localhost:{web.port}", WEB).replace(f" {web.port},", " 8000,")
    assert re.fullmatch(as_pattern(shown), printed + "\n"), (
        f"{block.page.name}:{block.line} shows\n{shown}\nbut got\n{printed}"
    )


def as_pattern(shown: str) -> str:
    """Make a regular expression of what a page shows: a line `…` stands for any lines, within a line for anything."""
    return "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r"\n" for line in shown.splitlines()
    )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "STATSD_"))}
    programs = Path(sys.executable).parent
    return {**quiet, "PATH": f"{programs}{os.pathsep}{quiet['PATH']}", "TMPDIR": str(tmp_path), "COLUMNS": "200"}


@pytest.mark.parametrize("page", PAGES, ids=id_of)
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("uninstrumented")
def test_python_blocks_run(page, web):
    run_python([block for block in blocks(page) if block.language == "python"], web)


@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in blocks(page) if block.language == "console"],
    ids=lambda block: f"{block.page.name}:{block.line}",
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash runs the commands")
def test_console_blocks_show_what_is_printed(block, web, environment):
    run_console(block, web, environment)


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_block_is_of_a_kind_that_is_run(page):
    assert {block.language for block in blocks(page)} <= {"python", "console", "toml", "text"}
