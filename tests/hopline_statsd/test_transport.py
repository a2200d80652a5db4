import errno
import os
import socket
import sys
import threading
import time
from contextlib import suppress

import pytest

from hopline_statsd import StatsdClient, StatsdConfig
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.listener import StatsdListener
from hopline_statsd.transport import Connection, transport_for
from tests.servers import wait_until
from tests.signals import TimeIsUp

DEADLINE = 10.0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=["udp", "udp6", "unix", "unixstream", "tcp"])
def any_listener(request, tmp_path):
    if request.param == "udp6" and not has_ipv6():
        pytest.skip("there is no IPv6 loopback")
    endpoint = {
        "udp6": "udp6://[::1]:0",
        "unix": f"unix://{tmp_path}/s",
        "unixstream": f"unixstream://{tmp_path}/s",
    }
    with StatsdListener(endpoint.get(request.param, f"{request.param}://127.0.0.1:0")) as listener:
        yield listener


def client_of(listener, **settings):
    return StatsdClient(StatsdConfig(endpoint=listener.endpoint, prefix="p", **settings))


def test_every_line_arrives_over_every_transport(any_listener):
    client = client_of(any_listener)

    for number in range(10_000):
        client.timing("t", number)
    assert client.flush()

    assert any_listener.wait_for(10_000)
    assert any_listener.lines == [f"p.t:{number}.000|ms" for number in range(10_000)]
    client.close()


def test_a_quiet_process_is_not_silent(any_listener):
    client = client_of(any_listener, flush_interval=0.05)

    client.timing("first", 1)
    assert any_listener.wait_for(1)
    client.timing("second", 2)
    assert any_listener.wait_for(2)

    assert any_listener.lines == ["p.first:1.000|ms", "p.second:2.000|ms"]
    client.close()


@pytest.mark.parametrize("size", [64, 512, 1432])
def test_packets_are_filled_and_no_line_is_torn(listener, size):
    client = client_of(listener, max_packet_size=size, flush_interval=600)
    lines = [f"p.t{'x' * (number % 40)}:{number}.000|ms" for number in range(2000)]

    for number in range(2000):
        client.timing(f"t{'x' * (number % 40)}", number)
    assert client.flush()

    assert listener.wait_for(2000)
    assert listener.lines == lines
    packets = list(listener.packets)
    assert max(map(len, packets)) <= size
    first_lines = [packet.partition(b"\n")[0] for packet in packets[1:]]
    assert all(len(packet) + 1 + len(line) > size for packet, line in zip(packets, first_lines, strict=False))


def test_a_line_longer_than_a_packet_is_counted_and_dropped(listener):
    client = client_of(listener, max_packet_size=64)

    for name in ("a", "b" * 100, "c", "d" * 100, "e" * 100):
        client.timing(name, 1)
    assert client.flush()

    assert listener.wait_for(2)
    assert listener.lines == ["p.a:1.000|ms", "p.c:1.000|ms"]
    assert client.stats().dropped == {"too_long": 3}
    assert client.stats().lines == 2
    client.close()


def test_a_packet_that_the_network_refuses_for_its_length_is_counted_and_dropped(tmp_path):
    with StatsdListener(f"unix://{tmp_path}/s") as listener:
        client = client_of(listener, max_packet_size=65_507)
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client._sender._link.transport.adopt(
            client._sender._link.transport.connect([(socket.AF_UNIX, f"{tmp_path}/s")], 1)
        )
        client._sender._link.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        probe.close()

        for number in range(5000):
            client.timing("t", number)
        client.flush()
        client.timing("last", 1)
        assert client.flush()

        assert listener.wait_for(1)
        assert "p.last:1.000|ms" in listener.lines
        assert client.stats().dropped["too_long"] + client.stats().lines == 5001
        client.close()


def test_a_server_that_comes_up_late_gets_the_lines_that_waited(tmp_path):
    endpoint = f"unixstream://{tmp_path}/s"
    client = StatsdClient(StatsdConfig(endpoint=endpoint, prefix="p", flush_interval=0.02))
    client.timing("early", 1)
    wait_until(lambda: client.stats().errors, "the error is counted")

    with StatsdListener(endpoint) as listener:
        assert listener.wait_for(1)

        assert listener.lines == ["p.early:1.000|ms"]
        client.close()


@pytest.mark.parametrize("scheme", ["unix", "unixstream", "tcp"])
def test_a_server_that_is_restarted_is_connected_to_again(scheme, tmp_path):
    where = "tcp://127.0.0.1:0" if scheme == "tcp" else f"{scheme}://{tmp_path}/s"
    with StatsdListener(where) as listener:
        endpoint = listener.endpoint
        client = StatsdClient(StatsdConfig(endpoint=endpoint, prefix="p", flush_interval=0.02))
        client.timing("before", 1)
        assert listener.wait_for(1)

    with StatsdListener(endpoint) as listener:
        client.timing("after", 2)

        assert listener.wait_for(1)
        assert listener.lines == ["p.after:2.000|ms"]
        client.close()


def sent_twice(transport, packet):
    """What two servers get of a packet: the first goes away in the middle of it."""
    transport.adopt(small_connection(first := []))
    assert not transport.send(packet)
    received = read_what_is_there(*first)
    first[0].close()
    with pytest.raises(OSError, match=r"closed|pipe|reset"):
        transport.send(packet)
    transport.close()
    transport.adopt(small_connection(second := []))
    again = b""
    while not transport.send(packet):
        again += read_what_is_there(*second)
    again += read_what_is_there(*second)
    transport.close()
    second[0].close()
    return received, again


def test_a_line_of_which_a_server_got_a_part_is_sent_again_whole():
    lines = [b"a" * 100, b"b" * 100, b"c" * 60_000, b"d" * 100]  # the third is cut off
    packet = b"\n".join(lines)

    received, again = sent_twice(transport_for(Endpoint.parse("unixstream:///run/statsd.sock")), packet)

    assert not received.endswith(b"\n")
    assert received[: received.rfind(b"\n") + 1] + again == packet + b"\n"


def test_datadogs_agent_gets_each_packet_after_its_length_on_a_unix_stream(tmp_path):
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(path)
        agent.listen()
        agent.settimeout(DEADLINE)
        client = StatsdClient(StatsdConfig(endpoint=f"unixstream://{path}", prefix="p", dialect="datadog"))

        client.timing("a", 1)
        client.timing("b", 2)
        assert client.flush()
        client.timing("c", 3)
        client.close()

        connection, _ = agent.accept()
        with connection:
            connection.settimeout(DEADLINE)
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received == b"\x19\0\0\0p.a:1.000|ms\np.b:2.000|ms\x0c\0\0\0p.c:3.000|ms"


def test_a_packet_after_its_length_of_which_a_server_got_a_part_is_sent_again_whole():
    packet = b"\n".join([b"a" * 100, b"b" * 60_000])

    _, again = sent_twice(transport_for(Endpoint.parse("unixstream:///run/statsd.sock"), is_framed=True), packet)

    assert again == len(packet).to_bytes(4, "little") + packet


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_only_a_unix_stream_has_lengths_for_datadogs_agent(scheme, tmp_path):
    with StatsdListener("tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/s") as listener:
        client = client_of(listener, dialect="datadog")

        client.timing("a", 1)
        client.close()

        assert listener.wait_for(1)
        assert list(listener.packets) == [b"p.a:1.000|ms"]


def small_connection(server):
    """A connection that holds a few kilobytes; the server's end of it is appended to `server`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    theirs.setblocking(False)
    server.append(theirs)
    return Connection(ours, (socket.AF_UNIX, ""))


def read_what_is_there(connection):
    data = b""
    try:
        while True:
            data += connection.recv(65_536)
    except BlockingIOError:
        return data


def test_a_server_that_takes_nothing_costs_the_oldest_lines_not_the_application(tmp_path):
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        client = StatsdClient(StatsdConfig(endpoint=f"unix://{path}", prefix="p", max_buffer_size=65_536))

        for number in range(50_000):
            client.timing("t", number)
        assert not client.flush(timeout=0.05)

        stats = client.stats()
        waiting = 50_000 - stats.lines - stats.dropped["buffer_full"]
        unpacked = client._sender._max_entries // 2
        assert 0 < (waiting - unpacked) * len("p.t:49999.000|ms\n") <= 65_536 + 2 * 8192
        client.close(timeout=0.05)
        assert client.stats().dropped["closed"] == waiting


def test_a_full_socket_is_waited_for_when_flushing(tmp_path):
    path = f"{tmp_path}/s"
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        slow.settimeout(DEADLINE)
        client = StatsdClient(StatsdConfig(endpoint=f"unix://{path}", prefix="p", max_packet_size=512))
        for number in range(5000):
            client.timing("t", number)

        def read() -> None:
            while b"p.t:4999." not in b"".join(received[-1:]):
                received.append(slow.recv(65_536))

        reader = threading.Thread(target=read)
        reader.start()
        assert client.flush(timeout=DEADLINE)
        reader.join()
        client.close()

    lines = b"\n".join(received).decode().split("\n")
    assert lines == [f"p.t:{number}.000|ms" for number in range(5000)]


def test_nobody_listening_costs_only_what_was_sent_meanwhile():
    with StatsdListener() as listener:
        endpoint = listener.endpoint
    client = StatsdClient(StatsdConfig(endpoint=endpoint, prefix="p"))
    for number in range(10):
        client.timing("lost", number)
        client.flush()

    with StatsdListener(endpoint) as listener:
        client.timing("found", 1)
        assert client.flush()

        assert listener.wait_for(1)
        assert listener.lines == ["p.found:1.000|ms"]
        assert client.stats().errors["ECONNREFUSED"] > 0
        client.close()


def test_closing_twice_and_sending_after_it_is_counted_not_raised(listener):
    client = client_of(listener)
    client.timing("before", 1)
    client.close()
    client.close()

    for _ in range(3):
        client.timing("after", 1)
    assert client.flush()

    assert listener.wait_for(1)
    assert listener.lines == ["p.before:1.000|ms"]
    assert client.stats().dropped == {"closed": 3}
    assert client.stats().lines == 1


def test_a_client_that_is_forgotten_sends_what_it_has(listener):
    client = client_of(listener)
    client.timing("t", 1)

    del client

    assert listener.wait_for(1)


def test_no_thread_and_no_socket_is_left_when_a_client_is_closed(any_listener):
    wait_until(
        lambda: not flushers(), "no other client is left"
    )  # those of other tests, whose clients had no time to wait for them
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    client = client_of(any_listener)
    client.timing("t", 1)
    assert any_listener.wait_for(1)

    client.close()

    assert not flushers()
    if before and any_listener.endpoint.startswith(("udp", "unix:")):
        assert len(os.listdir("/proc/self/fd")) <= before


def flushers():
    return [thread for thread in threading.enumerate() if thread.name == "hopline-statsd"]


def test_where_no_thread_can_be_started_each_line_looks_at_the_clock(monkeypatch, listener):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    client = client_of(listener, flush_interval=0.05)
    sent = 0
    end = time.monotonic() + DEADLINE

    while not client.stats().lines:
        assert time.monotonic() < end
        client.timing("t", 1)
        sent += 1
    client.close()

    assert listener.wait_for(sent)
    assert client.stats().lines == sent


def test_a_socket_without_memory_is_tried_again(monkeypatch, listener):
    client = client_of(listener, flush_interval=0.02)
    client.timing("one", 1)
    assert client.flush()
    transport = client._sender._link.transport

    class Exhausted:
        def __init__(self, real):
            self._real, self._failures = real, 3

        def __getattr__(self, name):
            return getattr(self._real, name)

        def send(self, packet):
            self._failures -= 1
            if self._failures >= 0:
                raise OSError(errno.ENOBUFS, "no memory")
            return self._real.send(packet)

    transport.socket = Exhausted(transport.socket)
    client.timing("two", 2)

    assert listener.wait_for(2)
    client.close()


def test_where_lines_come_faster_than_they_are_taken_away_their_threads_wait(listener):
    client = client_of(listener, max_buffer_size=65_536)

    def work() -> None:
        for number in range(20_000):
            client.timing("t", number)

    worker = threading.Thread(target=work)
    with client._sender._held(DEADLINE):
        worker.start()
        wait_until(lambda: len(client._entries) > client._sender._max_entries, "there is no more room")
    worker.join()

    assert client.flush()
    assert listener.wait_for(20_000), client.stats()
    assert listener.lines == [f"p.t:{number}.000|ms" for number in range(20_000)]
    client.close()


def test_a_signal_handler_in_the_middle_of_sending_neither_waits_nor_sends(listener):
    client = client_of(listener, max_buffer_size=65_536)
    with client._sender._held(DEADLINE):  # as if the handler had interrupted this very thread
        for number in range(20_000):
            client.timing("t", number)
        assert not client.flush()
        assert client.stats().lines == 0

    assert client.flush()
    assert listener.wait_for(20_000)
    client.close()


def test_flushing_gives_up_in_time_where_another_thread_has_the_lock(listener):
    client = client_of(listener)
    client.timing("t", 1)
    flushed = []
    thread = threading.Thread(target=lambda: flushed.append(client.flush(timeout=0.01)))

    with client._sender._lock:
        thread.start()
        thread.join()

    assert flushed == [False]
    client.close()


@pytest.mark.skipif("coverage" in sys.modules, reason="it may strike within coverage, and leave its lock shut for good")
def test_what_a_signals_handler_raises_in_the_middle_of_sending_keeps_no_later_line_from_being_sent(strike):
    with StatsdListener("tcp://127.0.0.1:0") as listener:
        client = StatsdClient(StatsdConfig(endpoint=listener.endpoint, max_packet_size=512))
        client.timing("first", 1)
        client.flush()  # the thread is there: a signal that strikes while one begins leaves it broken
        for _ in range(2000):
            with suppress(TimeIsUp):
                strike()
                while True:
                    client.timing("t", 1)

        client.timing("last", 1)

        assert client.flush()
        wait_until(lambda: listener.lines[-1] == "last:1.000|ms", "the last line")
        client.close()
