"""`hopline demo`: the main job, shown on any machine."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from hopline.cli import demo, main


@pytest.fixture(scope="module")
def shown():
    """What the command prints."""
    command = [sys.executable, "-c", "from hopline.cli import main; raise SystemExit(main(['demo']))"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_demo_shows_each_trace_as_a_tree(shown):
    trees = [line.split(" → ")[0].split(" http")[0].strip() for line in shown.splitlines() if "─ " in line]

    assert trees == [
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
    ]


def test_every_hop_has_an_id_that_ends_in_the_one_that_came_in(shown):
    ids = [line.rpartition(" id ")[2] for line in shown.splitlines() if "─ " in line]

    assert len(ids) == 13
    assert {id_.partition("demo-")[2] for id_ in ids} == {"items", "nothing", "old-items", "down"}


def test_the_demo_shows_the_statsd_lines(shown):
    names = [line.strip().partition(":")[0] for line in shown.splitlines() if line.endswith("|ms")]

    for name in ("GET.200", "GET.302", "GET.404", "GET.ConnectionError"):
        assert f"demo.requests.127-0-0-1.{name}" in names


def test_what_does_not_arrive_is_named_and_the_status_says_so(monkeypatch, capfd):
    only = dataclasses.replace(demo.VISITS[0], spans=4, timers=("GET.299",))
    monkeypatch.setattr(demo, "VISITS", (only,))
    monkeypatch.setattr(demo, "_ARRIVAL_SECONDS", 1.0)

    assert main(["demo"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "hopline demo: 3 of 4 spans arrived",
        "hopline demo: the statsd timer demo.requests.127-0-0-1.GET.299 did not arrive",
    ]


def test_a_service_that_does_not_start_ends_the_demo_with_a_message(monkeypatch):
    monkeypatch.setattr(demo, "_RUN_INSTRUMENTED", "raise SystemExit(3)")

    with pytest.raises(SystemExit, match="the backend service did not start"):
        main(["demo"])


def test_the_command_tells_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == "hopline 0.1.0\n"
