"""The phases of a request and the connections beneath it, read from urllib3."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest
import requests
import urllib3
from proxy import Proxy
from requests.adapters import BaseAdapter, HTTPAdapter

from tests.hopline.requests.conftest import PROXY
from tests.hopline.requests.test_attempts import FetchingAToken
from tests.loopback import Answer

PHASE = "hopline.phase."
OPEN = "http.client.open_connections"


@pytest.fixture
def tls_proxy(authority, tmp_path):
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = ["--key-file", str(tmp_path / "key.pem"), "--cert-file", str(tmp_path / "cert.pem")]
    with Proxy([*PROXY, *tls]) as proxy:
        yield f"https://127.0.0.1:{proxy.flags.port}"


def phases(span):
    return {name.removeprefix(PHASE) for name in span.attributes if name.startswith(PHASE)}


def reused(telemetry):
    return [span.attributes.get("hopline.connection.reused") for span in telemetry.spans]


def states(telemetry):
    return {point.attributes["http.connection.state"]: point.value for point in telemetry.points(OPEN)}


def test_a_new_connection_is_connected_and_the_next_request_reuses_it(instrument, telemetry, server, session):
    instrument()

    session.get(server.url)
    session.get(server.url)

    first, second = telemetry.spans
    assert phases(first) == {"connect", "headers", "body"}
    assert phases(second) == {"headers", "body"}
    assert reused(telemetry) == [False, True]


def test_resolving_a_name_is_a_phase(instrument, telemetry, server, session):
    instrument()

    session.get(f"http://localhost:{server.port}/")

    assert phases(telemetry.span) == {"dns", "connect", "headers", "body"}
    assert telemetry.span.attributes["network.peer.address"] == "127.0.0.1"
    assert telemetry.span.attributes["server.address"] == "localhost"


def test_a_name_that_cannot_be_resolved_has_only_that_phase(instrument, telemetry, session, monkeypatch):
    def unresolvable(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    instrument()
    monkeypatch.setattr(socket, "getaddrinfo", unresolvable)

    with pytest.raises(requests.exceptions.ConnectionError):
        session.get("http://nowhere.invalid/")

    assert phases(telemetry.span) == {"dns"}


def test_a_connection_that_is_refused_was_not_opened(instrument, telemetry, session, unused_port):
    instrument()

    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(f"http://127.0.0.1:{unused_port}/")

    assert phases(telemetry.span) == {"connect"}
    assert reused(telemetry) == [None]
    assert telemetry.points(OPEN) == []


def test_phases_do_not_last_longer_than_their_span(instrument, telemetry, server, session):
    instrument()

    session.get(f"http://localhost:{server.port}/")

    span = telemetry.span
    lasted = (span.end_time - span.start_time) / 1e9
    before_headers = sum(span.attributes[PHASE + name] for name in ("dns", "connect"))
    assert 0 < before_headers < span.attributes[PHASE + "headers"] <= lasted


def test_the_body_comes_after_the_headers_and_ends_the_span(instrument, telemetry, server, session):
    instrument()

    session.get(server.answer("/", Answer(chunks=[b"a" * 10, b"b" * 10])))

    span = telemetry.span
    lasted = span.attributes[PHASE + "headers"] + span.attributes[PHASE + "body"]
    assert lasted * 1e9 == pytest.approx(span.end_time - span.start_time, abs=1)


@pytest.mark.parametrize("answer", [Answer(body=b"x" * 10), Answer(chunks=[b"x" * 4, b"x" * 6])])
def test_the_sizes_of_the_bodies_stand_on_the_span(instrument, telemetry, server, session, answer):
    instrument()

    session.post(server.answer("/", answer), data="12345")

    assert telemetry.span.attributes["http.request.body.size"] == 5
    assert telemetry.span.attributes["http.response.body.size"] == 10


def test_a_request_and_a_response_without_a_body_have_none_on_their_span(instrument, telemetry, server, session):
    instrument()

    session.head(server.url)
    session.get(server.answer("/", Answer(204, body=b"")))

    for span in telemetry.spans:
        assert phases(span) <= {"connect", "headers"}
        assert not {name for name in span.attributes if name.endswith("body.size")}


def test_a_body_that_is_streamed_is_not_told_on_the_span(instrument, telemetry, server, session):
    instrument()

    session.get(server.url, stream=True).close()

    assert phases(telemetry.span) == {"connect", "headers"}
    assert "http.response.body.size" not in telemetry.span.attributes


def test_the_body_of_a_redirect_belongs_to_its_own_hop(instrument, telemetry, server, session):
    instrument()
    server.answer("/b", Answer(body=b"x" * 10))

    session.get(server.answer("/a", Answer(302, {"Location": "/b"}, b"moved")))

    assert [span.attributes["http.response.body.size"] for span in telemetry.spans] == [5, 10]
    assert all(phases(span) >= {"headers", "body"} for span in telemetry.spans)


def test_waiting_for_a_connection_of_a_full_pool_is_a_phase(instrument, telemetry, server, session):
    instrument()
    session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
    waiting, entered = threading.Event(), threading.Event()
    slow = server.answer("/slow", Answer(before=lambda: (entered.set(), waiting.wait(10))))
    first = threading.Thread(target=session.get, args=(slow,))
    first.start()
    assert entered.wait(10)

    threading.Timer(0.1, waiting.set).start()
    session.get(f"{server.url}/next")
    first.join()

    by_path = {span.attributes["url.full"]: span for span in telemetry.spans}
    assert "queue" not in phases(by_path[slow])
    assert by_path[f"{server.url}/next"].attributes[PHASE + "queue"] > 0


def test_a_tls_handshake_is_a_phase(instrument, telemetry, tls_server, session, bundle):
    instrument()

    session.get(tls_server.url, verify=bundle)
    session.get(tls_server.url, verify=bundle)

    first, second = telemetry.spans
    assert phases(first) == {"connect", "tls", "headers", "body"}
    assert phases(second) == {"headers", "body"}
    assert first.attributes["server.port"] == tls_server.port


def test_a_certificate_that_is_not_trusted_is_an_error_of_tls(instrument, telemetry, tls_server, session):
    instrument()

    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url)

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.SSLError"
    assert telemetry.span.attributes["network.peer.port"] == tls_server.port
    assert phases(telemetry.span) == {"connect", "tls"}


def test_a_certificate_that_is_not_trusted_behind_a_proxy_is_an_error_of_tls(
    instrument, telemetry, tls_server, session, proxy
):
    instrument()
    session.proxies = {"https": proxy}

    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url)

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.SSLError"
    assert telemetry.span.attributes["server.port"] == tls_server.port
    assert telemetry.span.attributes["network.peer.port"] == int(proxy.rpartition(":")[2])


def test_a_proxy_that_cannot_be_reached_is_an_error_of_the_proxy(instrument, telemetry, server, session, unused_port):
    instrument()
    session.proxies = {"http": f"http://127.0.0.1:{unused_port}"}

    with pytest.raises(requests.exceptions.ProxyError):
        session.get(server.url)

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.ProxyError"
    assert telemetry.span.attributes["server.port"] == server.port
    assert "network.peer.port" not in telemetry.span.attributes


def test_a_redirect_from_http_to_https_goes_through_both_proxies(
    instrument, telemetry, server, tls_server, session, proxy, bundle
):
    instrument()
    session.proxies = {"http": proxy, "https": proxy}

    session.get(server.redirect("/a", f"{tls_server.url}/b"), verify=bundle)

    assert [span.attributes["server.port"] for span in telemetry.spans] == [server.port, tls_server.port]
    assert {span.attributes["network.peer.port"] for span in telemetry.spans} == {int(proxy.rpartition(":")[2])}


def test_through_a_proxy_the_server_is_the_target_and_the_peer_the_proxy(instrument, telemetry, server, session, proxy):
    instrument()
    session.proxies = {"http": proxy}

    response = session.get(server.url)

    assert response.text == "ok"
    assert telemetry.span.attributes["server.port"] == server.port
    assert telemetry.span.attributes["network.peer.port"] == int(proxy.rpartition(":")[2])


def test_through_a_tunnel_there_is_one_span_with_a_handshake(instrument, telemetry, tls_server, session, proxy, bundle):
    instrument()
    session.proxies = {"https": proxy}

    response = session.get(tls_server.url, verify=bundle)

    assert response.text == "ok"
    assert telemetry.span.attributes["server.port"] == tls_server.port
    assert telemetry.span.attributes["network.peer.port"] == int(proxy.rpartition(":")[2])
    assert "tls" in phases(telemetry.span)
    assert len(tls_server.header("traceparent")) == 1


def test_the_handshakes_with_a_proxy_and_with_the_server_add_up(
    instrument, telemetry, tls_server, tls_proxy, session, bundle, monkeypatch
):
    instrument()
    monkeypatch.setattr("hopline.requests._phases.perf_counter_ns", itertools.count(0, 10**9).__next__)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)  # what a proxy of the session is verified against, too
    session.proxies = {"https": tls_proxy}

    response = session.get(tls_server.url)

    assert response.text == "ok"
    assert telemetry.span.attributes[PHASE + "tls"] == 2.0


def test_open_connections_are_active_idle_and_gone(instrument, telemetry, server, session):
    during = []
    server.answer("/", Answer(before=lambda: during.append(states(telemetry))))
    instrument()

    session.get(server.url)
    idle = states(telemetry)
    session.close()

    assert during == [{"active": 1}]
    assert idle == {"active": 0, "idle": 1}
    assert states(telemetry) == {"active": 0, "idle": 0}


def test_how_long_a_connection_lasted_is_measured_when_it_is_closed(instrument, telemetry, server, session):
    instrument()
    session.get(server.url)
    assert telemetry.points("http.client.connection.duration") == []

    session.close()

    point = telemetry.point("http.client.connection.duration")
    assert point.count == 1
    assert dict(point.attributes) == {"server.address": "127.0.0.1", "server.port": server.port}


def test_a_connection_of_a_session_that_is_told_of_only_now_is_open_too(instrument, telemetry, server, session):
    session.get(server.url)
    instrument()

    session.get(server.url)

    assert reused(telemetry) == [True]
    assert telemetry.span.attributes["network.peer.port"] == server.port
    assert states(telemetry) == {"idle": 1}


def test_a_connection_that_sent_a_body_of_unknown_length_is_idle_again(instrument, telemetry, server, session):
    instrument()

    session.post(server.url, data=iter([b"a", b"b"]))

    assert states(telemetry) == {"idle": 1}


def test_a_connection_of_another_pool_that_is_used_on_the_way_is_idle_again(instrument, telemetry, server, session):
    pool = urllib3.PoolManager()
    session.mount("http://", FetchingAToken(lambda: pool.request("GET", f"{server.url}/token")))
    instrument()

    session.get(server.url)

    assert states(telemetry) == {"idle": 2}
    pool.clear()


def test_the_connection_of_an_excluded_redirect_hop_is_counted_where_it_leads(
    instrument, telemetry, server, other_server, session
):
    instrument(excluded_urls="/b$")

    session.get(server.redirect("/a", f"{other_server.url}/b"))

    ports = {point.attributes["server.port"]: point.value for point in telemetry.points(OPEN)}
    assert ports == {server.port: 1, other_server.port: 1}


def test_body_sizes_are_measured_only_if_asked_for(instrument, telemetry, server):
    instrument()

    requests.post(server.url, data="12345")

    assert telemetry.points("http.client.request.body.size") == []
    assert telemetry.points("http.client.response.body.size") == []


@pytest.mark.parametrize("answer", [Answer(body=b"x" * 10), Answer(chunks=[b"x" * 4, b"x" * 6])])
def test_body_sizes_are_those_on_the_wire(instrument, telemetry, server, monkeypatch, answer):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_BODY_SIZES", "true")
    instrument()

    requests.post(server.answer("/", answer), data="12345")

    assert telemetry.point("http.client.request.body.size").sum == 5
    assert telemetry.point("http.client.response.body.size").sum == 10


def test_the_size_of_a_body_that_is_streamed_is_measured_when_it_ends(instrument, telemetry, server, session):
    instrument(body_sizes=True)

    response = session.get(server.answer("/", Answer(body=b"x" * 1000)), stream=True)
    assert telemetry.points("http.client.response.body.size") == []
    response.content  # noqa: B018 - reads the body

    assert telemetry.point("http.client.response.body.size").sum == 1000


def test_the_size_of_what_somebody_else_reads_with_urllib3_is_not_counted(instrument, telemetry, server, session):
    def body():
        with urllib3.PoolManager() as pool:
            yield pool.request("GET", server.answer("/source", Answer(body=b"x" * 1000))).data

    instrument(body_sizes=True)

    session.post(f"{server.url}/", data=body())

    assert telemetry.point("http.client.response.body.size").sum == 2


def test_a_connection_that_the_server_closes_is_open_no_more(instrument, telemetry, server, session):
    instrument()

    session.get(server.answer("/", Answer(headers={"Connection": "close"})))

    assert states(telemetry) == {}
    assert telemetry.point("http.client.connection.duration").count == 1


def test_the_size_of_a_body_that_is_made_while_it_is_sent_is_not_known(instrument, telemetry, server):
    instrument(body_sizes=True)

    requests.post(server.url, data=iter([b"123", b"45"]))
    requests.get(server.url)

    assert [point.attributes["http.request.method"] for point in telemetry.points("http.client.request.body.size")] == [
        "GET"
    ]


@pytest.mark.parametrize("length", ["some", "-7", "9" * 400])
def test_a_content_length_that_cannot_be_is_not_told(instrument, telemetry, session, length):
    class Answering(BaseAdapter):
        def send(self, request, **kwargs):
            response = requests.Response()
            response.status_code, response._content = 200, b""
            return response

        def close(self):
            pass

    instrument(body_sizes=True)
    session.mount("mock://", Answering())

    session.get("mock://host/", headers={"Content-Length": length})

    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert telemetry.points("http.client.request.body.size") == []


class Endless:
    """A socket that does not know its other end, as vcrpy's are, which plays back what it has recorded."""

    def __init__(self, socket):
        self._socket = socket

    def __getattr__(self, name):
        if name == "getpeername":
            raise AttributeError(name)
        return getattr(self._socket, name)


def test_a_connection_that_does_not_know_its_other_end_is_told_without_it(
    instrument, telemetry, server, session, caplog
):
    class Connection(urllib3.connection.HTTPConnection):
        def _new_conn(self):
            return Endless(super()._new_conn())

    instrument()
    pool = session.get_adapter(server.url).poolmanager.connection_from_url(server.url)
    pool.ConnectionCls = Connection

    session.get(server.url)

    assert [point.value for point in telemetry.points(OPEN)] == [1]
    assert caplog.text == ""


@pytest.mark.skipif(
    tuple(map(int, requests.__version__.split(".")[:2])) < (2, 29), reason="requests itself sends it until 2.29"
)
def test_what_a_streamed_body_is_fetched_with_is_not_told_of_the_request_that_sends_it(
    instrument, telemetry, server, other_server, session
):
    def chunks():
        yield urllib3.PoolManager().request("GET", other_server.url).data

    instrument()
    session.get(server.url)

    session.put(server.url, data=chunks())

    assert telemetry.spans[-1].attributes["network.peer.port"] == server.port
    assert reused(telemetry) == [False, True]
