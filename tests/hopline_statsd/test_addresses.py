"""Names that are looked up: again and again, in the background, whatever comes of it."""

import socket
import time

import pytest

from hopline_statsd import StatsdClient, StatsdConfig
from hopline_statsd.listener import StatsdListener
from tests.servers import wait_until

DEADLINE = 10.0


@pytest.fixture
def resolve(monkeypatch):
    """Has `statsd.test` resolved to a port of loopback; with none, no name server answers."""
    real = socket.getaddrinfo

    def resolve(port_of):
        def look_up(host, port, *rest, **more):
            if host != "statsd.test":
                return real(host, port, *rest, **more)
            try:
                return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port_of()))]
            except IndexError:
                raise socket.gaierror(socket.EAI_AGAIN, "not now") from None

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return resolve


def test_a_name_that_does_not_resolve_loses_nothing_but_old_lines():
    client = StatsdClient(StatsdConfig(endpoint="udp://statsd.invalid:8125", prefix="p", flush_interval=0.02))

    client.timing("t", 1)
    wait_until(lambda: client.stats().errors, "the error is counted")

    assert client.stats().lines == 0
    assert client.stats().dropped == {}
    client.close(timeout=0.2)
    assert client.stats().dropped == {"closed": 1}


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "\u2025.example"])
def test_a_host_that_no_name_server_could_know_is_an_error_of_the_socket(host):
    client = StatsdClient(StatsdConfig(endpoint=f"udp://{host}:8125", prefix="p"))

    client.timing("t", 1)

    assert not client.flush(timeout=5)
    assert client.stats().errors
    client.close(timeout=0.1)


def test_a_name_is_looked_up_again_when_it_is_time(monkeypatch, resolve):
    with StatsdListener() as old, StatsdListener() as new:
        found = [old]
        resolve(lambda: found[0].port)
        monkeypatch.setattr("hopline_statsd.link._LOOKUP_INTERVAL", 0.0)
        client = StatsdClient(StatsdConfig(endpoint="udp://statsd.test:1", prefix="p", flush_interval=0.02))
        client.timing("one", 1)
        assert old.wait_for(1)

        found[0] = new
        client.timing("two", 2)
        assert new.wait_for(1)

        assert new.lines == ["p.two:2.000|ms"]
        client.close()


def test_a_name_is_looked_up_again_where_nobody_listens_any_more(monkeypatch, resolve):
    monkeypatch.setattr("hopline_statsd.link._REFUSED_LOOKUP_INTERVAL", 0.0)
    with StatsdListener() as new:
        with StatsdListener() as old:
            found = [old.port]
            resolve(lambda: found[0])
            client = StatsdClient(StatsdConfig(endpoint="udp://statsd.test:1", prefix="p", flush_interval=0.02))
            client.timing("one", 1)
            assert old.wait_for(1)

        found[0] = new.port
        end = time.monotonic() + DEADLINE
        while not new.lines:
            assert time.monotonic() < end, client.stats()
            client.timing("two", 2)
            time.sleep(0.01)
        client.close()


def test_the_next_address_is_tried_where_the_first_does_not_answer(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = closed.getsockname()
    with StatsdListener("tcp://127.0.0.1:0") as listener:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", refusing)]
        found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", listener.port)))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        client = StatsdClient(StatsdConfig(endpoint="tcp://statsd.test:1", prefix="p"))

        client.timing("t", 1)
        assert client.flush()

        assert listener.wait_for(1)
        client.close()


def test_a_name_without_any_address_is_an_error_of_the_socket(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    client = StatsdClient(StatsdConfig(endpoint="tcp://statsd.test:1", prefix="p"))

    client.timing("t", 1)

    assert not client.flush()
    assert client.stats().errors == {"EADDRNOTAVAIL": 1}
    client.close(timeout=0.1)


def test_a_look_up_that_fails_leaves_the_connection_that_works(monkeypatch, resolve):
    with StatsdListener() as listener:
        ports = [listener.port]
        resolve(lambda: ports[0])
        monkeypatch.setattr("hopline_statsd.link._LOOKUP_INTERVAL", 0.0)
        client = StatsdClient(StatsdConfig(endpoint="udp://statsd.test:1", prefix="p", flush_interval=0.02))
        client.timing("one", 1)
        assert listener.wait_for(1)
        ports.clear()

        client.timing("two", 2)
        wait_until(lambda: client.stats().errors, "the error is counted")
        client.timing("three", 3)

        assert listener.wait_for(3)
        assert client.stats().dropped == {}
        client.close()


def test_an_error_of_our_own_in_the_background_is_said_and_survived(monkeypatch, caplog, resolve):
    monkeypatch.setattr("hopline_statsd.flusher._AFTER_ERROR", 0.01)
    with StatsdListener() as listener:

        def look_up():
            if not caplog.records:
                raise RuntimeError("a defect")
            return listener.port

        client = StatsdClient(StatsdConfig(endpoint="udp://statsd.test:1", prefix="p", flush_interval=0.01))
        resolve(look_up)
        client.timing("t", 1)

        assert listener.wait_for(1)
        assert [record.message for record in caplog.records] == [
            "the statsd exporter goes on after an error of its own"
        ]
        client.close()
