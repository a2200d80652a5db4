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


def test_a_count_that_begins_within_a_collection_waits_for_its_end(meter, reader):
    counts, over = [], threading.Event()

    def poll(options):
        if not counts:
            counts.append(LiveCount(meter, "live", "{thing}", "Things.", lambda: [{"kind": "a"}]))
        return []

    def collect():
        reader.get_metrics_data()
        over.set()

    meter.create_observable_gauge("polled", [poll])
    threading.Thread(target=collect, daemon=True).start()
    is_over = over.wait(PATIENCE)
    for thread in threading.enumerate():
        if thread.name == "hopline-live":
            thread.join(PATIENCE)

    assert is_over
    assert [point.value for point in points_of(reader, "live")] == [1]


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
