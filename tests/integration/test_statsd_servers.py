"""Real statsd servers: their own counts and means agree with what was sent."""

import statistics
from dataclasses import replace

import pytest

from hopline_statsd import StatsdClient, StatsdConfig, StatsdSpanProcessor
from tests.hopline_statsd.spans import CALL, end_span
from tests.servers import Carbon, Collectd, EtsyStatsd, wait_until

pytestmark = pytest.mark.processes

TIMERS = 10_000
NAME = "my.prefix.requests.somehost-com.POST.200"
DURATIONS = [((number * 7919) % 9973) / 8 for number in range(TIMERS)]
WHOLE_DURATIONS = [float((number * 7919) % 9973 + 1) for number in range(TIMERS)]
AT_A_TIME = 500  # a server on loopback has a socket of some 200 KB, and may be slow to read it


def send_timers(server, durations=DURATIONS):
    """Send all durations as spans, and wait for the server at times, so that none is lost in its socket."""
    processor = StatsdSpanProcessor(StatsdConfig(endpoint=server.endpoint, prefix="my.prefix"))
    for start in range(0, TIMERS, AT_A_TIME):
        for duration in durations[start : start + AT_A_TIME]:
            end_span(processor, CALL, milliseconds=duration)
        assert processor.force_flush()
        yield start + AT_A_TIME
    assert processor.stats().lines == TIMERS
    assert processor.stats().dropped == {}
    processor.shutdown()


@pytest.mark.server("statsd")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_etsy_statsd_counts_ten_thousand_timers_as_they_were_sent(tmp_path, transport):
    with EtsyStatsd(tmp_path, transport) as server:
        for sent in send_timers(server):
            wait_until(lambda sent=sent: server.timer(NAME).count >= sent, "statsd has flushed the timers")

        count, mean = server.timer(NAME)
        stored = {name for flush in server.flushes() for name in flush["timer_data"]}
        bad_lines = server.counter("statsd.bad_lines_seen")

    assert count == TIMERS
    assert mean == pytest.approx(statistics.fmean(DURATIONS), abs=1e-6)
    assert stored == {NAME}
    assert bad_lines == 0


@pytest.mark.server("statsd")
@pytest.mark.parametrize("dialect", ["graphite", "dogstatsd"])
def test_etsy_statsd_stores_tags_as_they_were_meant(tmp_path, dialect):
    with EtsyStatsd(tmp_path) as server:
        processor = StatsdSpanProcessor(StatsdConfig(endpoint=server.endpoint, prefix="my.prefix", dialect=dialect))
        end_span(processor, CALL)
        processor.shutdown()

        name = "my.prefix.requests;host=somehost.com;method=POST;status=200"
        wait_until(lambda: server.timer(name).count == 1, "statsd has flushed the timer")


@pytest.mark.server("statsd")
@pytest.mark.parametrize("dialect", ["plain", "dogstatsd"])
def test_etsy_statsd_sets_gauges_multiplies_samples_and_tells_members_apart(tmp_path, dialect):
    with EtsyStatsd(tmp_path) as server:
        config = StatsdConfig(endpoint=server.endpoint, prefix="p", dialect=dialect)
        client = StatsdClient(config)
        sampled = StatsdClient(replace(config, sample_rate=0.5))

        for depth in (5, -7, 3, -2.5):
            client.gauge("depth", depth)
        for user in ("a", "b", "a"):
            client.set("users", user)
        client.increment("jobs", 3)
        client.increment("jobs", -1)
        for _ in range(200):
            sampled.increment("sampled")
        client.close()
        sampled.close()
        sampled_lines = sampled.stats().lines

        wait_until(lambda: server.counter("p.sampled") > 0, "statsd has flushed")
        wait_until(lambda: server.latest("gauges", "p.depth") is not None, "statsd has flushed")
        assert server.latest("gauges", "p.depth") == -2.5
        assert sorted(server.latest("sets", "p.users")) == ["a", "b"]
        assert server.counter("p.jobs") == 2
        assert server.counter("p.sampled") == 2 * sampled_lines


@pytest.mark.server("collectd")
def test_collectd_counts_ten_thousand_timers_as_they_were_sent(tmp_path):
    with Collectd(tmp_path) as server:
        # It cuts off what is less than a millisecond, and takes a timer of 0 for nothing.
        for sent in send_timers(server, WHOLE_DURATIONS):
            wait_until(lambda sent=sent: server.timer(NAME).count >= sent, "collectd has read the timers")

        count, mean = server.timer(NAME)

    assert count == TIMERS
    assert mean == pytest.approx(statistics.fmean(WHOLE_DURATIONS), abs=1e-3)


@pytest.mark.server("collectd")
def test_collectd_sets_gauges_and_adds_counters(tmp_path):
    with Collectd(tmp_path) as server:
        client = StatsdClient(StatsdConfig(endpoint=server.endpoint, prefix="p"))

        for depth in (5, -7, 3, -2.5):
            client.gauge("depth", depth)
        for _ in range(100):
            client.increment("jobs")
        client.close()

        wait_until(lambda: server.counter("p.jobs") == 100, "collectd has read the counter")
        wait_until(lambda: server.gauge("p.depth") == -2.5, "collectd has read the gauge")


@pytest.mark.server("carbon")
@pytest.mark.server("statsd")
def test_graphite_stores_what_etsy_statsd_made_of_ten_thousand_timers(tmp_path):
    with (
        Carbon(tmp_path / "carbon") as carbon,
        EtsyStatsd(tmp_path / "statsd", graphite=carbon.port, flush_interval=2000) as server,
    ):
        for sent in send_timers(server):
            if sent % (TIMERS // 2) == 0:
                wait_until(lambda sent=sent: server.timer(NAME).count >= sent, "statsd has flushed the timers")

        stored = f"stats.timers.{NAME}"
        wait_until(lambda: sum(carbon.values(f"{stored}.count")) >= TIMERS, "carbon has stored the timers")
        count, total = (sum(carbon.values(f"{stored}.{what}")) for what in ("count", "sum"))

    assert count == TIMERS
    assert total / count == pytest.approx(statistics.fmean(DURATIONS), abs=1e-6)
