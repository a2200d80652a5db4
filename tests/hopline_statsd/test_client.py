import multiprocessing.process
import multiprocessing.util
import numbers
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from celery.signals import worker_process_shutdown

from hopline_statsd import StatsdClient
from hopline_statsd.lines import DIALECTS
from hopline_statsd.listener import StatsdListener
from hopline_statsd.packets import Packets


def sent(client, listener, count):
    assert client.flush()
    assert listener.wait_for(count)
    return listener.lines


def test_each_kind_of_metric_is_written_as_statsd_servers_read_it(make_client, listener):
    client = make_client()

    client.timing("a.b", 1.5)
    client.increment("a.b")
    client.increment("a.b", -2.5)
    client.gauge("a.b", 7)
    client.set("a.b", "user 1|2")
    client.histogram("a.b", 3)
    client.distribution("a.b", 4)

    assert sent(client, listener, 7) == [
        "my.prefix.a.b:1.500|ms",
        "my.prefix.a.b:1|c",
        "my.prefix.a.b:-2.5|c",
        "my.prefix.a.b:7|g",
        "my.prefix.a.b:user_1_2|s",
        "my.prefix.a.b:3.000|ms",
        "my.prefix.a.b:4.000|ms",
    ]


def test_a_line_that_comes_while_the_client_is_asked_for_its_counts_is_sent_in_time(make_client, listener, monkeypatch):
    client, asked, go_on = make_client(flush_interval=0.05), threading.Event(), threading.Event()
    count = Packets.sent_lines

    def count_slowly(self):
        asked.set()
        go_on.wait(30)
        return count(self)

    client.timing("first", 1)
    assert listener.wait_for(1)
    client.flush()
    monkeypatch.setattr(Packets, "sent_lines", count_slowly)
    asking = threading.Thread(target=client.stats)
    asking.start()
    asked.wait(30)
    client.increment("alone")
    go_on.set()
    asking.join(30)

    assert listener.wait_for(2)


def test_an_application_that_replaces_time_monotonic_is_asked_for_no_time(make_client, listener, monkeypatch):
    client, asked = make_client(flush_interval=0.05), []

    def stands_still():
        asked.append(threading.current_thread().name)
        return 1e9

    with monkeypatch.context() as replacing:
        replacing.setattr(time, "monotonic", stands_still)
        client.increment("a")
        assert listener.wait_for(1)

    assert asked == []


@pytest.mark.parametrize("dialect", ["plain", "dogstatsd", "graphite"])
def test_the_member_of_a_set_is_never_read_as_several(make_client, listener, dialect):
    client = make_client(dialect=dialect)

    client.set("users", "urn:user|1")

    assert sent(client, listener, 1) == ["my.prefix.users:urn_user_1|s"]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_negative_gauge_is_set_to_zero_first_as_a_sign_may_mean_a_change(make_client, listener, dialect):
    client = make_client(dialect=dialect)

    client.gauge("depth", -5.25)

    assert sent(client, listener, 2) == ["my.prefix.depth:0|g", "my.prefix.depth:-5.25|g"]


def test_both_lines_of_a_negative_gauge_are_in_one_packet(make_client, listener):
    client = make_client(max_packet_size=100)

    for depth in range(200):
        client.gauge("depth", -depth - 1)

    assert len(sent(client, listener, 400)) == 400
    assert all(packet.count(b":0|g\n") == packet.count(b":-") for packet in listener.packets)


@pytest.mark.parametrize(
    ("dialect", "lines"),
    [
        ("plain", ["my.prefix.a.somehost-com.x-y:1.000|ms", "my.prefix.a.somehost-com.x-y:1.000|ms"]),
        (
            "dogstatsd",
            [
                "my.prefix.a:1.000|h|#host:somehost.com,b_c:x/y",
                "my.prefix.a:1.000|d|#host:somehost.com,b_c:x/y",
            ],
        ),
        (
            "datadog",
            [
                "my.prefix.a:1.000|h|#peer.hostname:somehost.com,b_c:x/y",
                "my.prefix.a:1.000|d|#peer.hostname:somehost.com,b_c:x/y",
            ],
        ),
        (
            "influx",
            [
                "my.prefix.a,host=somehost.com,b_c=x/y:1.000|h",
                "my.prefix.a,host=somehost.com,b_c=x/y:1.000|ms",
            ],
        ),
        (
            "graphite",
            [
                "my.prefix.a;host=somehost.com;b_c=x_y:1.000|ms",
                "my.prefix.a;host=somehost.com;b_c=x_y:1.000|ms",
            ],
        ),
        (
            "librato",
            [
                "my.prefix.a#host=somehost.com,b_c=x/y:1.000|ms",
                "my.prefix.a#host=somehost.com,b_c=x/y:1.000|ms",
            ],
        ),
        (
            "signalfx",
            [
                "my.prefix.a[host=somehost.com,b_c=x/y]:1.000|ms",
                "my.prefix.a[host=somehost.com,b_c=x/y]:1.000|ms",
            ],
        ),
    ],
)
def test_tags_and_types_are_written_as_the_dialect_has_them(make_client, listener, dialect, lines):
    client = make_client(dialect=dialect)
    tags = {"host": "somehost.com", "b c": "x/y"}

    client.histogram("a", 1, tags)
    client.distribution("a", 1, tags)

    assert sent(client, listener, 2) == lines


class NumpysInteger:
    """An integer that is no `int`, as numpy has them."""

    def __index__(self) -> int:
        return 7

    def __float__(self) -> float:
        raise AssertionError("digits would be lost")


numbers.Integral.register(NumpysInteger)


@pytest.mark.parametrize(
    ("value", "written"), [(Decimal("12.5"), "12.5"), (Fraction(-1, 2), "-0.5"), (NumpysInteger(), "7")]
)
def test_a_number_of_whatever_type_is_sent(make_client, listener, value, written):
    client = make_client()

    client.increment("a", value)

    assert sent(client, listener, 1) == [f"my.prefix.a:{written}|c"]


@pytest.mark.parametrize("value", [Decimal("12.5"), Fraction(25, 2)])
def test_a_duration_of_whatever_type_is_sent(make_client, listener, value):
    client = make_client()

    client.timing("a", value)
    client.histogram("a", value)

    assert sent(client, listener, 2) == ["my.prefix.a:12.500|ms", "my.prefix.a:12.500|ms"]


NO_NUMBERS = [1j, Decimal("nan"), Decimal("sNaN"), Decimal("1e400"), Fraction(10**400), 10**400, "7", None, [1]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0, 1e16, *NO_NUMBERS])
def test_a_duration_that_is_none_is_dropped_and_counted(make_client, value):
    client = make_client()

    client.timing("a", value)
    client.histogram("a", value)

    assert client.stats().dropped == {"invalid": 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1e16, True, *NO_NUMBERS])
def test_a_number_that_is_none_is_dropped_and_counted(make_client, value):
    client = make_client()

    client.increment("a", value)
    client.gauge("a", value)

    assert client.stats().dropped == {"invalid": 2}


def test_a_value_that_only_compares_like_a_number_costs_no_other_line(make_client, listener):
    class Odd:
        def __ge__(self, other: object) -> bool:
            return True

        __le__ = __ge__

    client = make_client()

    client.timing("a", 1)
    client.timing("b", Odd())
    client.timing("c", 2)

    assert sent(client, listener, 2) == ["my.prefix.a:1.000|ms", "my.prefix.c:2.000|ms"]
    assert client.stats().dropped == {"invalid": 1}
    assert client.stats().lines == 2


@pytest.mark.parametrize(
    ("name", "written"),
    [("a..b.", "a.b"), ("ä b:c|d@e#f\n", "__b-c_d_e_f_"), ("", "empty"), ("...", "---"), ("a/b", "a-b")],
)
def test_what_may_not_stand_in_a_name_is_replaced(make_client, listener, name, written):
    client = make_client()

    client.timing(name, 1)

    assert sent(client, listener, 1) == [f"my.prefix.{written}:1.000|ms"]


def test_a_tag_may_have_several_values(make_client, listener):
    client = make_client()

    client.timing("a", 1, {"b": [1, True]})
    client.increment("a", 1, {"b": [1, True]})

    assert sent(client, listener, 2) == ["my.prefix.a.1-true:1.000|ms", "my.prefix.a.1-true:1|c"]


def test_equal_values_of_several_types_are_several_tags(make_client, listener):
    client = make_client(dialect="dogstatsd")
    values = [True, 1, 1.0, "1.0", (1, True), (True, 1), "x"]

    for value in (*values, *values):
        client.increment("a", tags={"b": value})

    written = [line.rpartition(":")[2] for line in sent(client, listener, 14)]
    assert written == ["true", "1", "1.0", "1.0", "1-true", "true-1", "x"] * 2


def test_names_need_no_prefix(make_client, listener):
    client = make_client(prefix=None)

    client.timing("a", 1, {"b": True})

    assert sent(client, listener, 1) == ["a.true:1.000|ms"]


def test_a_sampled_client_sends_a_share_and_writes_it_on_each_line(make_client, listener):
    client = make_client(sample_rate=0.25, prefix="p")

    for _ in range(4000):
        client.timing("t", 1)
        client.timing("t", 1, {"tag": "x"})
        client.increment("c")
        client.gauge("g", 1)
    assert client.flush()

    lines = listener.lines if listener.wait_for(client.stats().lines) else []
    assert lines.count("p.g:1|g") == 4000
    assert 800 < lines.count("p.t:1.000|ms|@0.25") < 1200
    assert 800 < lines.count("p.t.x:1.000|ms|@0.25") < 1200
    assert 800 < lines.count("p.c:1|c|@0.25") < 1200


@pytest.mark.parametrize("sample_rate", [1.0, 0.5])
def test_a_subclass_may_override_timing_whether_lines_are_sampled_or_not(
    make_config, listener, monkeypatch, sample_rate
):
    class OfTheApi(StatsdClient):
        def timing(self, name, milliseconds, tags=None):
            super().timing(f"api.{name}", milliseconds, tags)

    monkeypatch.setattr("random.random", lambda: 0.0)
    client = OfTheApi(make_config(sample_rate=sample_rate))

    client.timing("t", 1)
    client.close()

    assert listener.wait_for(1)
    assert listener.lines[0].startswith("my.prefix.api.t:1.000|ms")


def test_the_listener_counts_a_sampled_line_as_many(make_client, listener):
    client = make_client(sample_rate=0.5)

    for _ in range(2000):
        client.increment("c")
    assert client.flush()
    assert listener.wait_for(client.stats().lines)

    (summary,) = listener.summaries()
    assert summary.count == 2 * client.stats().lines


def test_threads_lose_double_and_tear_no_line(make_client, listener):
    client = make_client(max_packet_size=512, max_buffer_size=8 * 1024 * 1024)

    def work(number: int) -> None:
        for value in range(5000):
            client.timing(f"thread{number}", value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    expected = {f"my.prefix.thread{number}:{value}.000|ms" for number in range(8) for value in range(5000)}
    assert client.flush()
    assert listener.wait_for(40_000)
    assert len(listener.lines) == 40_000
    assert set(listener.lines) == expected
    assert client.stats().lines == 40_000


def test_names_beyond_the_cache_are_still_right(make_client, listener):
    client = make_client()

    for number in range(9000):
        client.timing(f"n{number}", 1, {"tag": number})
        client.timing(f"n{number}", 1)

    lines = sent(client, listener, 18_000)
    assert lines[-2:] == ["my.prefix.n8999.8999:1.000|ms", "my.prefix.n8999:1.000|ms"]


def test_the_default_client_is_configured_by_the_environment(monkeypatch):
    with StatsdListener() as listener:
        monkeypatch.setenv("STATSD_DSN", f"udp://127.0.0.1:{listener.port}/shop")
        client = StatsdClient()

        client.increment("jobs")

        assert sent(client, listener, 1) == ["shop.jobs:1|c"]
        client.close()


def test_a_client_is_closed_at_the_end_of_its_block(make_config, listener):
    with StatsdClient(make_config(flush_interval=600)) as client:
        client.increment("jobs")

    client.increment("late")
    assert listener.wait_for(1)
    assert client.stats().dropped == {"closed": 1}


def test_clients_that_are_closed_leave_nothing_behind_in_a_child_that_runs_tasks(make_client, monkeypatch):
    def send_and_close():
        client = make_client()
        client.increment("a")
        client.close()

    monkeypatch.setattr(multiprocessing.process, "parent_process", lambda: "a parent")
    send_and_close()
    receivers, finalizers = len(worker_process_shutdown.receivers), len(multiprocessing.util._finalizer_registry)

    send_and_close()
    send_and_close()

    assert len(worker_process_shutdown.receivers) == receivers
    assert len(multiprocessing.util._finalizer_registry) == finalizers


@pytest.mark.skipif(sys.version_info < (3, 14), reason="since Python 3.14")
def test_a_sub_interpreter_that_may_have_no_such_thread_sends_its_lines(listener):
    from concurrent import interpreters

    interpreter = interpreters.create()
    interpreter.exec(
        "from hopline_statsd import StatsdClient, StatsdConfig\n"
        f"client = StatsdClient(StatsdConfig(endpoint={listener.endpoint!r}))\n"
        "client.timing('t', 1)\n"
        "client.close()"
    )
    interpreter.close()

    assert listener.wait_for(1)
    assert listener.lines == ["t:1.000|ms"]
