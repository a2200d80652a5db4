import socket

import pytest

from hopline_statsd.aggregate import MAX_VALUES, Series, percentile
from hopline_statsd.listener import StatsdListener
from hopline_statsd.parse import Sample, parse_line, parse_packet


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        ("a.b:1.5|ms", Sample("a.b", "1.5", "ms")),
        ("a:1|c|@0.1", Sample("a", "1", "c", 0.1)),
        ("a:-1|g", Sample("a", "-1", "g", sets=False)),
        ("a:-1|g|#x:y", Sample("a", "-1", "g", tags={"x": "y"})),
        ("a:1|c|@0.5|#x:y:z,w", Sample("a", "1", "c", 0.5, {"x": "y:z", "w": ""})),
        ("a,x=y,z=w:1|c", Sample("a", "1", "c", tags={"x": "y", "z": "w"})),
        ("a;x=y;z=w:1|c", Sample("a", "1", "c", tags={"x": "y", "z": "w"})),
        ("a#x=y,z=w:1|c", Sample("a", "1", "c", tags={"x": "y", "z": "w"})),
        ("a[x=y,z=w]:1|c", Sample("a", "1", "c", tags={"x": "y", "z": "w"})),
        ("a:bob|s", Sample("a", "bob", "s")),
    ],
)
def test_every_dialect_is_read(line, sample):
    assert parse_line(line) == sample


def test_a_packet_is_read_line_by_line():
    assert parse_packet(b"a:1|c\nb:2|c\n") == [Sample("a", "1", "c"), Sample("b", "2", "c")]


def send(listener, *packets):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", listener.port))


def test_timers_are_summarized(listener):
    send(listener, b"\n".join(b"t:%d|ms" % number for number in range(1, 101)))
    assert listener.wait_for(100)

    (summary,) = listener.summaries()

    assert (summary.name, summary.type, summary.count, summary.mean) == ("t", "ms", 100, 50.5)
    assert (summary.min, summary.p50, summary.p90, summary.p99, summary.max) == (1, 50, 90, 99, 100)
    assert summary.rate > 0


def test_a_sampled_timer_weighs_as_many(listener):
    send(listener, b"t:10|ms|@0.1\nt:20|ms")
    assert listener.wait_for(2)

    (summary,) = listener.summaries()

    assert (summary.count, summary.mean) == (11, pytest.approx(120 / 11))


def test_counters_gauges_and_sets_are_summarized(listener):
    send(listener, b"c:2|c\nc:3|c|@0.5\ng:5|g\ng:-2|g\ng:+1|g\ns:a|s\ns:b|s\ns:a|s")
    assert listener.wait_for(8)

    counter, gauge, members = listener.summaries()

    assert (counter.count, gauge.mean, members.count) == (8, 4, 2)


def test_series_are_told_apart_by_their_tags(listener):
    send(listener, b"a:1|c|#x:2\na:1|c|#x:1\na:1|c|#x:1")
    assert listener.wait_for(3)

    assert [(summary.tags["x"], summary.count) for summary in listener.summaries()] == [("1", 2), ("2", 1)]


def test_bad_lines_are_counted_and_cost_no_other(listener):
    send(listener, b"nonsense\na:1|c\n\xff\xfe:1|c|", b"b:1|c")

    assert listener.wait_for(3)
    assert listener.bad_lines == 1
    assert "a:1|c" in listener.lines


def test_a_line_that_a_stream_cuts_off_is_forgotten_and_one_in_two_parts_is_whole():
    with StatsdListener("tcp://127.0.0.1:0") as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as sender:
            sender.sendall(b"a:1|c\nb:")
            assert listener.wait_for(1)
            sender.sendall(b"2|c\nc:3")
            assert listener.wait_for(2)

        assert listener.lines == ["a:1|c", "b:2|c"]


def test_packets_that_follow_their_lengths_are_read_however_a_stream_cuts_them(tmp_path):
    packets = [b"a:1|c\nb:12|c", b"c:3|c", b"d:4|c|#x:y\ne:5|c"]
    with StatsdListener(f"unixstream://{tmp_path}/s") as listener:
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(f"{tmp_path}/s")
            for byte in b"".join(len(packet).to_bytes(4, "little") + packet for packet in packets):
                sender.send(bytes([byte]))
        assert listener.wait_for(5)

        assert list(listener.packets) == packets


def test_a_stream_without_newlines_is_hung_up():
    with (
        StatsdListener("tcp://127.0.0.1:0") as listener,
        socket.create_connection(("127.0.0.1", listener.port)) as sender,
    ):
        sender.settimeout(10)
        endless = bytearray(b"x" * 64 * 1024 * 1024)
        with pytest.raises(OSError, match=r"."):
            sender.sendall(endless)


def test_a_free_port_can_be_asked_for_without_a_scheme():
    with StatsdListener("127.0.0.1:0") as listener:
        send(listener, b"a:1|c")

        assert listener.wait_for(1)


def test_a_path_is_listened_at_as_it_is_asked_for(tmp_path):
    with StatsdListener(f"unix://{tmp_path}/s:0") as listener:
        assert listener.endpoint == f"unix://{tmp_path}/s:0"


def test_no_lines_are_there_before_one_arrives(listener):
    assert listener.lines == []
    assert not listener.wait_for(1, timeout=0.01)


def test_a_series_of_many_values_keeps_a_fair_choice_of_them():
    series = Series(parse_line("t:1|ms"))

    for number in range(2 * MAX_VALUES):
        series.add(Sample("t", str(number), "ms"))

    summary = series.summary(0)
    assert summary.count == 2 * MAX_VALUES
    assert summary.max == 2 * MAX_VALUES - 1
    assert summary.p50 == pytest.approx(MAX_VALUES, rel=0.05)
    assert summary.rate == 0


def test_a_series_without_values_is_all_zero():
    summary = Series(parse_line("t:1|ms")).summary(1)

    assert (summary.count, summary.mean, summary.min, summary.p99, summary.max) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 1), (0.51, 2), (1, 2)])
def test_a_percentile_is_the_nearest_rank(share, value):
    assert percentile([1, 2], share) == value


def test_the_listener_keeps_to_its_bound_of_series(monkeypatch, listener):
    monkeypatch.setattr("hopline_statsd.listener._MAX_SERIES", 2)
    send(listener, b"a:1|c\nb:1|c\nc:1|c\na:1|c")
    assert listener.wait_for(4)

    assert [summary.name for summary in listener.summaries()] == ["a", "b"]
