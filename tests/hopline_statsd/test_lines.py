"""Whatever goes in, what comes out parses back into exactly the lines meant."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from hopline_statsd import StatsdConfig, StatsdSpanProcessor
from hopline_statsd.buckets import rate_of
from hopline_statsd.budget import NameBudget
from hopline_statsd.lines import DIALECTS, MAX_VALUE, PAIR, dotted, gauge, number, segment
from hopline_statsd.listener import StatsdListener
from hopline_statsd.packets import Packets
from hopline_statsd.parse import parse_line, parse_packet
from hopline_statsd.span_lines import SpanLines
from hopline_statsd.stats import Tally
from tests.hopline_statsd.spans import end_span

SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,200}")
NASTY = st.one_of(
    st.text(max_size=300),
    st.text(alphabet=":|@#.,;=[]/\\ \t\r\n\0%{}\x7fé漢", max_size=50),
    st.sampled_from(["", " ", ".", "...", "x" * 10_000, "\n", "%s", "%", "a\nb:1|c", "::1", "/", "//"]),
)
DIALECT = st.sampled_from(sorted(DIALECTS))
NUMBER = st.floats(min_value=-MAX_VALUE, max_value=MAX_VALUE) | st.integers(-(10**15), 10**15)


@given(NASTY)
def test_a_segment_holds_nothing_that_means_something_to_a_server(text):
    assert SEGMENT.fullmatch(segment(text))


@given(NASTY)
def test_a_segment_is_what_etsy_statsd_stores(text):
    made = segment(text)

    stored = re.sub(r"\s+", "_", made).replace("/", "-")
    assert re.sub(r"[^a-zA-Z_\-0-9.;=]", "", stored) == made


@given(NASTY)
def test_a_dotted_name_is_made_of_segments(text):
    assert all(SEGMENT.fullmatch(part) for part in dotted(text).split(".") if dotted(text))


@given(NUMBER)
def test_a_number_is_read_back_without_an_exponent(value):
    text = number(value).decode()

    assert set(text) <= set(string.digits + "-.")
    assert float(text) == pytest.approx(value, abs=1e-9)


@given(DIALECT, NASTY, st.dictionaries(NASTY, NASTY, max_size=4), NUMBER, st.sampled_from(["ms", "c", "h", "d"]))
def test_a_line_is_read_back_as_it_was_meant(dialect_name, name, tags, value, type_):
    dialect = DIALECTS[dialect_name]
    cleaned = {dialect.tag_key(key): dialect.tag_value(text) for key, text in tags.items()}
    cleaned = cleaned if dialect.has_tags else {}

    line_format = dialect.line_format(segment(name), type_, "%s", cleaned, 0.25)
    sample = parse_line((line_format % number(value)).decode())

    assert (sample.name, sample.tags, sample.rate) == (segment(name), cleaned, 0.25)
    assert float(sample.value) == pytest.approx(value, abs=1e-9)
    assert sample.type == (type_ if type_ in dialect.types else "ms")


@given(DIALECT, NUMBER, st.floats(-100, 100), st.booleans())
def test_a_gauge_ends_up_at_its_value_whatever_it_was_before(dialect_name, value, before, signs_are_changes):
    lines = gauge(DIALECTS[dialect_name].line_format("depth", "g", "%s"), value).split(PAIR)

    level = before
    for line in lines:
        written = parse_line(line.decode()).value
        is_change = signs_are_changes and written.startswith("-")
        level = level + float(written) if is_change else float(written)

    assert level == pytest.approx(value, abs=1e-9)


@settings(deadline=None)
@given(DIALECT, NASTY, NASTY, NASTY, NASTY)
def test_a_span_makes_one_readable_line_whatever_its_attributes_hold(dialect, host, method, status, service):
    config = StatsdConfig(dialect=dialect)
    lines: list[bytes] = []

    class Collect:
        def on_start(self, span, parent_context=None):
            pass

        def _on_ending(self, span):
            pass

        def on_end(self, span):
            span_lines = SpanLines(config, {"service.name": service}, NameBudget(2000), Tally())
            flat = span_lines.of(span)
            lines.extend(line_format % value for line_format, value in zip(flat[::2], flat[1::2], strict=True))

        def shutdown(self):
            pass

    end_span(
        Collect(),
        {"http.request.method": method or "GET", "server.address": host, "error.type": status},
        kind=SpanKind.CLIENT,
    )

    (line,) = lines
    assert b"\n" not in line
    sample = parse_line(line.decode("ascii"))
    assert sample.type == "ms"
    assert float(sample.value) == 12.5
    parts = sample.name.split(".")
    assert len(parts) == (5 if dialect == "plain" else 2)
    assert all(SEGMENT.fullmatch(part) for part in parts)
    host_tag = "peer.hostname" if dialect == "datadog" else "host"
    assert list(sample.tags) == ([] if dialect == "plain" else [host_tag, "method", "status"])


CALLS = st.lists(st.tuples(NASTY, st.sampled_from(["GET", "POST"]), NASTY, st.integers(0, 10**12)), max_size=40)


@settings(deadline=None, max_examples=50)
@given(DIALECT, CALLS, st.sampled_from([512, 1432, 8192]))
def test_what_arrives_is_exactly_the_lines_of_the_spans_that_ended(dialect_name, calls, packet_size):
    dialect = DIALECTS[dialect_name]
    with StatsdListener() as listener:
        config = StatsdConfig(
            endpoint=listener.endpoint,
            prefix="p",
            dialect=dialect_name,
            max_packet_size=packet_size,
            flush_interval=600,
        )
        processor = StatsdSpanProcessor(config)
        for host, method, route, microseconds in calls:
            attributes = {"http.request.method": method, "peer.service": host, "url.template": route}
            end_span(processor, attributes, milliseconds=microseconds / 1000)
        processor.shutdown()
        stats = processor.stats()
        assert listener.wait_for(stats.lines)
        packets = list(listener.packets)

    assert max(map(len, packets), default=0) <= packet_size
    samples = [sample for packet in packets for sample in parse_packet(packet)]
    too_long = stats.dropped.get("too_long", 0)
    meant = [meant_by(dialect, *call) for call in calls]
    assert len(samples) + too_long == len(meant)
    if not too_long:
        assert [(sample.name, dict(sample.tags), float(sample.value)) for sample in samples] == meant


def meant_by(dialect, host, method, route, microseconds):
    """Name, tags and milliseconds of a call's line."""
    values = {"host": host or "unknown", "template": route, "method": method, "status": "unknown"}
    if not route:  # as if there was none
        del values["template"]
    milliseconds = microseconds / 1000
    if dialect.has_tags:
        tags = {dialect.tag_key(key): dialect.tag_value(value) for key, value in values.items()}
        return "p.requests", tags, milliseconds
    return ".".join(["p.requests", *map(segment, values.values())]), {}, milliseconds


@given(
    st.lists(st.tuples(st.text(string.ascii_letters, min_size=1, max_size=120), st.floats(0, 1e9)), max_size=60),
    st.integers(64, 400),
    st.lists(st.integers(1, 7), max_size=20),
)
def test_packets_hold_exactly_the_lines_that_fit_in_order(lines, size, chunks):
    tally = Tally()
    packets = Packets(size, 1_000_000, tally)
    entries: list[object] = []

    for number_, (name, value) in enumerate(lines):
        entries += (name.encode() + b":%.3f|ms", value)
        if chunks and number_ % chunks[number_ % len(chunks)] == 0:
            packets.take(entries)
    packets.take(entries)
    packets.close_open()

    expected = [f"{name}:{value:.3f}|ms" for name, value in lines]
    fitting = [line for line in expected if len(line) <= size]
    made = list(packets.waiting)
    assert all(len(packet) <= size for packet in made)
    written = [f"{sample.name}:{sample.value}|{sample.type}" for packet in made for sample in parse_packet(packet)]
    assert written == fitting
    assert tally.counts()[0].get("too_long", 0) == len(expected) - len(fitting)


@pytest.mark.parametrize("line", ["", "a", "a:1", "a|c", ":1|c", "a:|c", "a:x|c", "a:1|c|@x", "a:1,5|ms"])
def test_what_is_no_statsd_line_is_not_read(line):
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        parse_line(line)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_no_tags_are_written_where_there_are_none(dialect):
    assert DIALECTS[dialect].line_format("a", "c", "%s") == b"a:%s|c"


@pytest.mark.parametrize("rate", ["0.00001", "0.000016666666666666667", "0.1", "0.3333333333333333"])
def test_a_sample_rate_is_written_to_its_last_digit_without_an_exponent(rate):
    assert DIALECTS["plain"].line_format("a", "c", "%s", rate=float(rate)) == b"a:%s|c|@" + rate.encode()


def counted_by_a_server_that_cuts_off(count):
    line = DIALECTS["dogstatsd"].line_format("a", "d", "1", rate=rate_of(count)).decode()
    return int(1 / parse_line(line).rate)


def test_the_rate_of_up_to_100_000_values_is_read_as_exactly_as_many():
    counts = range(1, 100_001)

    assert [count for count in counts if counted_by_a_server_that_cuts_off(count) != count] == []


@given(st.integers(1, 10**15))
def test_the_rate_of_however_many_values_is_read_as_exactly_as_many(count):
    assert counted_by_a_server_that_cuts_off(count) == count
