"""`hopline demo`: the main job, shown on any machine."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

import pytest

from hopline.cli import demo, demo_processes, main
from tests import programs

pytestmark = pytest.mark.processes

ORDER = [
    "└─ frontend SERVER GET /orders",
    "└─ frontend CLIENT GET",
    "└─ backend SERVER GET /orders",
    "└─ backend PRODUCER apply_async/demo.ship",
    "└─ worker CONSUMER run/demo.ship",
    "├─ worker CLIENT GET",
    "│  └─ warehouse SERVER GET /items",
    "└─ worker CLIENT GET",
    "└─ warehouse SERVER GET /items",
]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """However busy this machine is."""
    monkeypatch.setattr(demo, "_SECONDS", 60.0)
    monkeypatch.setattr(demo, "_ARRIVAL_SECONDS", 60.0)


def said(**variables):
    """What the command prints with more environment variables; it succeeds."""
    patiently = "demo._SECONDS = demo._ARRIVAL_SECONDS = 60.0"
    program = f"from hopline.cli import demo, main; {patiently}; raise SystemExit(main(['demo']))"
    return programs.run([sys.executable, "-c", program], {**os.environ, **variables}, timeout=90).stdout


@pytest.fixture(scope="module")
def shown():
    return said()


def trees(shown):
    """The spans, without outcomes, durations and ids."""
    lines = [line.partition("  id ")[0].rpartition("  ")[0] for line in shown.splitlines() if "─ " in line]
    return [line.partition(" → ")[0].partition(" http")[0].strip() for line in lines]


def test_the_demo_shows_each_trace_as_a_tree(shown):
    assert trees(shown) == [
        "└─ frontend SERVER GET /items",
        "└─ frontend CLIENT GET",
        "└─ backend SERVER GET /items",
        "└─ frontend SERVER GET /nothing",
        "└─ frontend CLIENT GET",
        "└─ backend SERVER GET /nothing",
        "└─ frontend SERVER GET /old-items",
        "├─ frontend CLIENT GET",
        "│  └─ backend SERVER GET /old-items",
        "└─ frontend CLIENT GET",
        "└─ backend SERVER GET /items",
        "└─ frontend SERVER GET /down",
        "└─ frontend CLIENT GET",
        *ORDER,
    ]


def test_the_demo_needs_no_proxy_and_no_unicode(unused_port):
    nowhere = f"http://127.0.0.1:{unused_port}"

    shown = said(HTTP_PROXY=nowhere, http_proxy=nowhere, PYTHONIOENCODING="ascii")

    assert "?? frontend SERVER GET /items" in shown


def test_every_hop_has_an_id_that_ends_in_the_one_that_came_in(shown):
    ids = [line.rpartition(" id ")[2] for line in shown.splitlines() if "─ " in line]

    assert len(ids) == 22
    assert {id_.partition("demo-")[2] for id_ in ids} == {"items", "nothing", "old-items", "down", "orders"}


def test_the_demo_shows_the_log_lines_of_every_process(shown):
    lines = [line.split() for line in shown.splitlines() if "demo-orders]" in line]

    assert [name for name, *_ in lines] == ["frontend", "backend", "backend", "worker", "worker", *["warehouse"] * 2]


def test_the_demo_shows_the_statsd_lines(shown):
    names = [line.strip().partition(":")[0] for line in shown.splitlines() if line.endswith(("|ms", "|c"))]

    for name in ("GET.200", "GET.202", "GET.302", "GET.404", "GET.ConnectionError"):
        assert f"demo.requests.127-0-0-1.{name}" in names
    for name in ("enqueue", "queue", "run", "success"):
        assert f"demo.celery.demo-ship.{name}" in names


def test_what_is_not_installed_is_left_out_and_named(monkeypatch, capfd):
    nothing = demo.Installed(celery=False, aiohttp=False)
    only = demo.visits(nothing)[-1:]
    monkeypatch.setattr(demo.Installed, "here", lambda: nothing)
    monkeypatch.setattr(demo, "visits", lambda _: only)

    assert main(["demo"]) == 0
    said = capfd.readouterr().out
    assert "   (Celery is not installed: the backend does the task's work itself)\n" in said
    assert "   (aiohttp is not installed: the warehouse is asked with requests)\n" in said
    assert trees(said) == [
        *ORDER[:3],
        "├─ backend CLIENT GET",
        "│  └─ warehouse SERVER GET /items",
        "└─ backend CLIENT GET",
        "└─ warehouse SERVER GET /items",
    ]


def test_what_does_not_arrive_is_named_and_the_status_says_so(monkeypatch, capfd):
    first, *_ = demo.visits(demo.Installed(celery=False, aiohttp=False))
    monkeypatch.setattr(demo, "visits", lambda _: (first,))
    monkeypatch.setattr(demo, "_start", lambda *_: [])
    monkeypatch.setattr(demo, "_make", lambda *_: ["GET /items was not answered (timed out)"])
    monkeypatch.setattr(demo, "_ARRIVAL_SECONDS", 0.1)

    assert main(["demo"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "hopline demo: GET /items was not answered (timed out)",
        "hopline demo: 0 of 3 spans arrived",
        "hopline demo: the statsd line demo.requests.127-0-0-1.GET.200 did not arrive",
    ]


def test_a_service_that_does_not_start_ends_the_demo_with_a_message(monkeypatch):
    monkeypatch.setattr(demo_processes, "_RUN_INSTRUMENTED", "raise SystemExit(3)")

    with pytest.raises(SystemExit, match="the frontend service did not start"):
        main(["demo"])


def test_a_request_that_is_not_answered_is_named(unused_port):
    first, *_ = demo.visits(demo.Installed(celery=False, aiohttp=False))
    frontend = SimpleNamespace(name="frontend", url=f"http://127.0.0.1:{unused_port}")

    (message,) = demo._make((first,), [frontend], time.monotonic() + 10)

    assert message.startswith("GET /items was not answered (")


def test_the_command_tells_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == "hopline 0.1.0\n"
