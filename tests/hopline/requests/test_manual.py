"""The manual of requests, chapter by chapter: what it says holds with instrumentation on, to the byte on the wire."""

from __future__ import annotations

import io
import ssl
import threading

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from tests.loopback import Answer, LoopbackServer

OURS = ("traceparent", "tracestate", "baggage", "x-request-id")


@pytest.fixture(params=["without", "with"], autouse=True)
def told(request, instrument):
    """Each test of this module runs twice: it says what requests does by itself, too."""
    if request.param == "with":
        instrument()
    return request.param == "with"


@pytest.fixture
def tls_server(authority):
    """A server that has a certificate, and wants one of whoever comes."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    with LoopbackServer(context) as server:
        yield server


@pytest.fixture
def client_certificate(authority, tmp_path):
    certificate = authority.issue_cert("client@api.test")
    path = tmp_path / "client.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


def received(server):
    """The header of each request, without what is ours."""
    return [
        [(name, value) for name, value in request.headers.items() if name.lower() not in OURS]
        for request in server.received
    ]


def test_what_is_ours_is_all_that_is_added_to_a_request(told, server):
    requests.get(server.url, headers={"X-First": "1", "x-second": "2"})

    assert [name for name, _ in received(server)[0]] == [
        *("Host", "User-Agent", "Accept-Encoding", "Accept", "Connection", "X-First", "x-second")
    ]
    assert (server.header("traceparent") != [None]) == told


def test_a_session_has_defaults_that_a_request_may_replace(server, session):
    session.headers.update({"X-Kept": "kept", "X-Replaced": "session", "X-Removed": "session"})
    session.params = {"page": "1"}
    session.auth = ("me", "secret")

    response = session.get(server.url, params={"size": "2"}, headers={"X-Replaced": "request", "X-Removed": None})

    fields = dict(received(server)[0])
    assert (fields["X-Kept"], fields["X-Replaced"], "X-Removed" in fields) == ("kept", "request", False)
    assert fields["Authorization"].startswith("Basic ")
    assert server.received[0].path == "/?page=1&size=2"
    assert response.url == f"{server.url}/?page=1&size=2"
    assert dict(session.headers).keys().isdisjoint({"traceparent", "X-Request-Id"})


def test_cookies_are_kept_over_a_redirect_and_between_requests(server, session):
    server.answer("/set", Answer(302, {"Set-Cookie": "seen=yes; Path=/", "Location": "/get"}, b""))

    response = session.get(f"{server.url}/set", cookies={"once": "1"})
    session.get(server.url)

    assert server.header("Cookie") == ["once=1", "once=1; seen=yes", "seen=yes"]
    assert session.cookies.get_dict() == {"seen": "yes"}
    assert response.history[0].cookies["seen"] == "yes"


def test_a_response_knows_its_history_its_time_and_its_request(server, session):
    response = session.post(server.redirect("/a", "/b", 307), data={"k": "v"})

    assert [(hop.status_code, hop.url) for hop in response.history] == [(307, f"{server.url}/a")]
    assert response.elapsed.total_seconds() > 0
    assert response.request.body == "k=v"
    assert [request.body for request in server.received] == [b"k=v", b"k=v"]


def test_authorization_is_not_carried_to_another_host(server, session):
    session.get(server.redirect("/a", f"http://localhost:{server.port}/b"), headers={"Authorization": "Bearer secret"})

    assert server.header("Authorization") == ["Bearer secret", None]


def test_a_connection_is_kept_alive_and_used_again(server, session):
    for _ in range(3):
        session.get(server.url)

    assert len({request.peer for request in server.received}) == 1


def test_hooks_are_called_with_what_they_may_replace(server, session):
    seen = []

    def replace(response, **kwargs):
        seen.append(sorted(kwargs))
        response.replaced = True
        return response

    session.hooks["response"] = [replace]

    response = session.get(server.redirect("/a", "/b"))
    session.get(server.url, hooks={"response": [lambda response, **_: seen.append(response.url)]})

    settings = ["cert", "proxies", "stream", "timeout", "verify"]
    assert response.replaced
    assert seen == [settings, settings, f"{server.url}/"]


def test_authentication_of_ones_own_signs_what_is_sent(server, session):
    class Signed(AuthBase):
        def __call__(self, request):
            request.headers["X-Signature"] = f"{request.method} {request.path_url} {len(request.body)}"
            return request

    session.post(f"{server.url}/x", data="12345", auth=Signed())

    assert server.header("X-Signature") == ["POST /x 5"]


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (lambda: {"data": io.BytesIO(b"file")}, b"file"),
        (lambda: {"data": iter([b"in ", b"chunks"])}, b"in chunks"),
        (lambda: {"json": {"k": 1}}, b'{"k": 1}'),
        (lambda: {"data": [("k", "1"), ("k", "2")]}, b"k=1&k=2"),
    ],
    ids=["file", "chunks", "json", "form"],
)
def test_bodies_are_sent_as_they_are(server, session, arguments, body):
    session.post(server.url, **arguments())

    assert server.received[0].body == body


def test_files_are_sent_as_multipart(server, session):
    session.post(server.url, files={"report": ("a.csv", io.BytesIO(b"1,2"), "text/csv")})

    assert b'filename="a.csv"' in server.received[0].body
    assert server.header("Content-Type")[0].startswith("multipart/form-data; boundary=")


def test_lines_are_streamed_one_by_one(server, session):
    server.answer("/", Answer(chunks=[b"one\ntw", b"o\nthree"]))

    with session.get(server.url, stream=True) as response:
        assert list(response.iter_lines(decode_unicode=True, chunk_size=4)) == [b"one", b"two", b"three"]


def test_a_prepared_request_is_sent_as_it_was_prepared(server, session):
    request = requests.Request("POST", server.url, data={"k": "x"}).prepare()
    request.body = b"k=y"
    request.headers["X-Changed"] = "1"
    del request.headers["Content-Type"]

    session.send(request, timeout=5)

    assert server.received[0].body == b"k=y"
    assert server.header("X-Changed") == ["1"]
    assert server.header("Content-Type") == [None]


def test_a_certificate_is_verified_against_the_bundle_that_is_named(tls_server, session, bundle):
    session.trust_env = False  # which may name another one, and would win over the session's
    with pytest.raises(requests.exceptions.SSLError):
        session.get(tls_server.url)
    session.verify = bundle

    assert session.get(tls_server.url).text == "ok"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_can_be_switched_off(tls_server, session):
    assert session.get(tls_server.url, verify=False).text == "ok"


def test_a_client_certificate_is_shown_to_the_server(tls_server, session, bundle, client_certificate):
    shown = []
    tls_server.answer("/", Answer(before=lambda: shown.extend(tls_server.client_certificates)))

    session.get(f"{tls_server.url}/", verify=bundle, cert=client_certificate)

    assert "client@api.test" in str(shown)


def test_a_proxy_is_taken_from_the_environment(server, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)

    requests.get(server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    requests.get(server.url)

    assert [via is not None for via in server.header("Via")] == [True, False]


def test_a_transport_adapter_serves_the_longest_prefix(server, session):
    class Marking(HTTPAdapter):
        def add_headers(self, request, **kwargs):
            request.headers["X-Marked"] = "1"

    session.mount(f"{server.url}/marked", Marking(max_retries=Retry(1)))

    session.get(f"{server.url}/marked")
    session.get(f"{server.url}/other")

    assert server.header("X-Marked") == ["1", None]


def test_time_outs_are_what_the_manual_says(server, session):
    release = threading.Event()
    url = server.answer("/", Answer(before=lambda: release.wait(10)))

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(url, timeout=(5, 0.05))

    release.set()


def test_an_error_status_raises_only_when_asked_to(server, session):
    response = session.get(server.answer("/", Answer(404)))

    assert not response.ok
    with pytest.raises(requests.exceptions.HTTPError, match="404 Client Error"):
        response.raise_for_status()


@pytest.mark.parametrize("url", ["", "http://", "no scheme", "ftp://example.com/"])
def test_a_url_that_cannot_be_requested_is_refused(session, url):
    with pytest.raises((requests.exceptions.RequestException, ValueError)):
        session.get(url)


GREQUESTS = """
from tests.telemetry import Telemetry
telemetry = Telemetry()
import sys{early}
from hopline.requests import RequestsInstrumentor
if {told}:
    RequestsInstrumentor().instrument(**telemetry.providers)
import grequests
failed = []
requested = [grequests.get("{url}/%d" % n, hooks={{"response": lambda r, **_: seen.append(r.url)}}) for n in range(4)]
seen = []
answers = grequests.map(
    [*requested, grequests.get("http://127.0.0.1:{unused}/")],
    size=2, exception_handler=lambda request, error: failed.append(type(error).__name__),
)
print([answer and answer.status_code for answer in answers], len(seen), failed)
print(len(list(grequests.imap(requested, size=2))))
print(len(telemetry.spans))
"""


@pytest.mark.parametrize("early", ["", ", grequests"], ids=["imported later", "imported before"])
def test_grequests_makes_requests_side_by_side(told, server, unused_port, run_python, early):
    output = run_python(GREQUESTS.format(told=told, url=server.url, unused=unused_port, early=early))

    assert output.splitlines()[:2] == ["[200, 200, 200, 200, None] 4 ['ConnectionError']", "4"]
    assert output.splitlines()[2] == ("9" if told else "0")
    spans = {header.split("-")[2] for header in server.header("traceparent") if header is not None}
    assert len(spans) == (8 if told else 0)
