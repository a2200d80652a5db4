"""What `opentelemetry-instrument python -c pass` costs, in CPU time, and what it imports: hopline beside contrib.

Each is a program of its own, by turns, in one of three views of this environment. A view is a virtual environment
whose site-packages are symbolic links to this one's, without the other's distributions: `hopline`; `contrib`, which is
opentelemetry-distro with the instrumentations of requests and the aiohttp client; and `loader`, which has neither.
Both export to OTLP over HTTP, and do the rest as is their default.

    python benchmarks/startup.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sysconfig
import tempfile
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import Row, added, each, interleaved, median, report, show

VIEWS = {
    "hopline": {"hopline"},
    "contrib": {
        "opentelemetry_distro",
        "opentelemetry_instrumentation_requests",
        "opentelemetry_instrumentation_aiohttp_client",
    },
    "loader": set[str](),
}
HEAVY = ("ssl", "urllib3", "requests", "aiohttp", "celery", "gevent")
INSTRUMENT = """#!{python}
from opentelemetry.instrumentation.auto_instrumentation import run
run()
"""
# Registered before everything else, it is called after everything else.
AT_EXIT = "import atexit, sys; atexit.register(lambda: print(*sys.modules))"
SDK = "import opentelemetry.sdk.trace"
LOADED = "OpenTelemetry's loader and the SDK's import alone"
SDK_IN_FULL = "import opentelemetry.sdk._configuration"


def is_wanted(name: str, distributions: set[str]) -> bool:
    """Whether an entry of site-packages belongs in a view with these distributions."""
    if "hopline" in name:
        return "hopline" in distributions
    if name.endswith(".pth"):
        return False
    if name.startswith(("opentelemetry_distro-", "opentelemetry_instrumentation_")):
        return name.partition("-")[0] in distributions
    return True


def view(directory: Path, distributions: set[str]) -> Path:
    """Make a view of this environment; return its site-packages."""
    venv.create(directory, symlinks=True, with_pip=False)
    (packages,) = directory.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if is_wanted(entry.name, distributions):
            (packages / entry.name).symlink_to(entry)
    script = directory / "bin" / "opentelemetry-instrument"
    script.write_text(INSTRUMENT.format(python=directory / "bin" / "python"))
    script.chmod(0o755)
    return packages


def run(directory: Path, *command: str, **settings: str) -> str:
    """Run a program of a view to its end, with these environment variables; return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON", "COV"))}
    chosen = {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    done = subprocess.run(
        [directory / "bin" / command[0], *command[1:]],
        cwd=directory,
        env=inherited | chosen | settings,
        check=True,
        capture_output=True,
        text=True,
    )
    if done.stderr:
        raise RuntimeError(f"{directory.name}: {' '.join(command)} said: {done.stderr}")
    return done.stdout


def instrumented(directory: Path, code: str = "pass", **settings: str) -> Callable[[], str]:
    return partial(run, directory, "opentelemetry-instrument", "python", "-c", code, **settings)


def children() -> float:
    """The seconds of CPU time, user and system, of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def costs(views: dict[str, Path]) -> list[Row]:
    ours = views["hopline"]
    programs = {
        "bare": partial(run, ours, "python", "-c", "pass"),
        SDK: partial(run, ours, "python", "-c", SDK),
        f"{SDK}, hopline": partial(run, ours, "python", "-c", f"{SDK}, hopline"),
        "loader, nothing to load": instrumented(views["loader"]),
        # What every distribution starts from.
        "loader, then the SDK": instrumented(views["loader"], SDK_IN_FULL),
        "contrib": instrumented(views["contrib"]),
        "hopline": instrumented(ours),
        "hopline, exporting logs as contrib does": instrumented(ours, OTEL_LOGS_EXPORTER="otlp"),
    }
    measured = each(interleaved(programs, rounds=25, warm_up=0, clock=children), 1000)
    show("start-up, `opentelemetry-instrument python -c pass` and before it", measured, "bare", "milliseconds")
    ratio, least = (
        median(measured, name) / median(measured, "contrib") for name in ("hopline", "loader, then the SDK")
    )
    imported = added(measured, f"{SDK}, hopline", SDK)
    return [
        Row(
            "start-up: `opentelemetry-instrument python -c pass`",
            "CPU ÷ contrib's",
            ratio,
            0.6,
            f"{LOADED}: {least:.2f}",
        ),
        Row("start-up: `import hopline`", f"CPU ms on top of `{SDK}`", imported, 15),
    ]


def modules(directory: Path, packages: Path) -> set[str]:
    """The modules of HEAVY that are there when `opentelemetry-instrument python -c pass` ends."""
    hook = packages / "0_modules.pth"
    hook.write_text(AT_EXIT)
    try:
        return set(HEAVY) & set(instrumented(directory)().split())
    finally:
        hook.unlink()


def imports(views: dict[str, Path], packages: dict[str, Path]) -> list[Row]:
    found = {name: modules(directory, packages[name]) for name, directory in views.items()}
    print(f"\nstart-up: what is imported of {', '.join(HEAVY)}, and the application did not import")
    for name, there in found.items():
        print(f"  {name:38} {', '.join(sorted(there)) or 'nothing'}")
    loader = ", ".join(sorted(found["loader"]))
    return [
        Row(
            "start-up: imported, and not by the application",
            f"modules of {', '.join(HEAVY)}",
            len(found["hopline"] - found["loader"]),
            0,
            f"not counted: OpenTelemetry's own loader imports {loader}" if loader else "",
        )
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        views = {name: Path(directory, name) for name in VIEWS}
        packages = {name: view(path, VIEWS[name]) for name, path in views.items()}
        report([*costs(views), *imports(views, packages)])


if __name__ == "__main__":
    main()
