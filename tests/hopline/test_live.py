"""What is counted when metrics are collected, while threads come and go."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from hopline._weak import alive
from hopline.http import live
from hopline.http.live import LiveCount
from tests.telemetry import points_of

PATIENCE = 30  # seconds, until a test that hangs fails


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def meter(reader):
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider.get_meter("test")
    provider.shutdown()


def test_counts_that_threads_make_at_once_are_all_observed(meter, reader, monkeypatch):
    together, make = threading.Barrier(2), live._Observed.__init__
    counts = []

    def make_together(self):
        make(self)
        together.wait(PATIENCE)

    def count():
        counts.append(LiveCount(meter, "live", "{thing}", "Things.", lambda: [{"kind": "a"}]))

    monkeypatch.setattr(live._Observed, "__init__", make_together)
    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert [point.value for point in points_of(reader, "live")] == [2]


def test_what_is_alive_is_told_while_others_come(often_switched):
    class Thing:
        pass

    known, kept, over = WeakKeyDictionary(), [Thing() for _ in range(200)], threading.Event()
    known.update(dict.fromkeys(kept))

    def come():
        while not over.is_set():
            kept.append(thing := Thing())
            known[thing] = None
            if len(kept) > 5_000:
                del kept[200:]

    thread = threading.Thread(target=come)
    thread.start()
    try:
        found = [len(alive(known.keyrefs())) for _ in range(200)]
    finally:
        over.set()
        thread.join(PATIENCE)

    assert min(found) >= 200
