"""What is built and installed: one wheel with two packages, which does its main job in an empty environment."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent


def run(*command: str, cwd: Path = ROOT) -> str:
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--installer=uv", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty virtual environment: the folder of its programs."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    return folder / "bin"


def test_the_wheel_has_both_packages_with_their_types_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names} == {"hopline", "hopline_statsd", "hopline-0.1.0.dist-info"}
    assert {"hopline/py.typed", "hopline_statsd/py.typed", "hopline-0.1.0.dist-info/licenses/LICENSE"} <= set(names)


def test_the_first_command_of_the_readme_works_in_an_empty_environment(wheel, empty, tmp_path):
    run(str(empty / "pip"), "install", "--quiet", str(wheel))

    shown = run(str(empty / "hopline"), "demo", cwd=tmp_path)

    assert "demo.requests.127-0-0-1.GET.200:" in shown
    assert "(Celery is not installed: " in shown
    assert "(aiohttp is not installed: " in shown
    assert "─ warehouse SERVER GET /items → 200" in shown


def test_no_library_is_required_that_an_application_may_not_want(wheel):
    (metadata,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA")]
    required = [
        line.partition(": ")[2]
        for line in zipfile.ZipFile(wheel).read(metadata).decode().splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]

    assert not any(name.startswith(("aiohttp", "celery", "gevent", "eventlet", "requests")) for name in required)
    assert "Provides-Extra: instruments" not in zipfile.ZipFile(wheel).read(metadata).decode()


def test_an_editable_install_reads_the_source(empty, tmp_path):
    run(str(empty / "pip"), "install", "--quiet", "--no-deps", "--editable", str(ROOT))

    where = run(str(empty / "python"), "-c", "import hopline, hopline_statsd; print(hopline.__file__)", cwd=tmp_path)

    assert Path(where.strip()) == ROOT / "instrumentation" / "hopline" / "__init__.py"
