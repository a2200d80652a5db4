"""One span for each request on the wire: redirect hops, retries and authentication resends."""

from __future__ import annotations

import time

import pytest
import requests
import urllib3
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import AuthBase, HTTPDigestAuth
from urllib3.util.retry import Retry

from hopline import Context
from hopline.requests import uninstrument_session
from tests.loopback import Answer

CHALLENGE = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}


def statuses(telemetry):
    return [span.attributes.get("http.response.status_code") for span in telemetry.spans]


def resend_counts(telemetry):
    return [span.attributes.get("http.request.resend_count") for span in telemetry.spans]


def span_ids(telemetry):
    return [f"{span.context.span_id:016x}" for span in telemetry.spans]


def sent_span_ids(*servers):
    return [header.split("-")[2] for server in servers for header in server.header("traceparent")]


def retrying(session, **retry):
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0, **retry)))
    return session


def test_each_redirect_hop_has_a_span_and_a_count(instrument, telemetry, server, other_server):
    instrument()
    other_server.answer("/c", Answer(204, body=b""))
    server.redirect("/b", f"{other_server.url}/c")

    requests.get(server.redirect("/a", "/b"))

    assert statuses(telemetry) == [302, 302, 204]
    assert resend_counts(telemetry) == [None, 1, 2]
    assert [span.attributes["url.full"] for span in telemetry.spans] == [
        f"{server.url}/a",
        f"{server.url}/b",
        f"{other_server.url}/c",
    ]


def test_each_redirect_hop_carries_its_own_span_and_id_on_the_wire(instrument, telemetry, server, other_server):
    instrument()
    Context.new("abc")

    requests.get(server.redirect("/a", f"{other_server.url}/b"))

    assert sent_span_ids(server, other_server) == span_ids(telemetry)
    sent = server.header("X-Request-Id") + other_server.header("X-Request-Id")
    assert sent == [f"{span_id}-abc" for span_id in span_ids(telemetry)]
    assert [span.attributes["hopline.request_id"] for span in telemetry.spans] == sent


def test_attempts_are_siblings_under_the_caller_linked_to_the_one_before(instrument, telemetry, server):
    instrument()

    with telemetry.tracer.start_as_current_span("caller") as caller:
        requests.get(server.redirect("/a", "/b"))

    first, second, _ = telemetry.spans
    assert {first.parent.span_id, second.parent.span_id} == {caller.get_span_context().span_id}
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_the_method_that_a_redirect_changes_to_is_told(instrument, telemetry, server):
    instrument()

    requests.post(server.redirect("/a", "/b", 303), data="x")

    assert [span.name for span in telemetry.spans] == ["POST", "GET"]


def test_too_many_redirects_is_an_error_of_the_last_hop(instrument, telemetry, server, session):
    instrument()
    session.max_redirects = 2

    with pytest.raises(requests.exceptions.TooManyRedirects):
        session.get(server.redirect("/a", "/a"))

    assert statuses(telemetry) == [302, 302, 302]
    assert [span.status.status_code for span in telemetry.spans] == [
        StatusCode.UNSET,
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]
    assert telemetry.spans[2].attributes["error.type"] == "requests.exceptions.TooManyRedirects"


def test_a_redirect_that_is_not_followed_is_one_request(instrument, telemetry, server, session):
    instrument()

    response = session.get(server.redirect("/a", "/b"), allow_redirects=False)

    assert response.next.url == f"{server.url}/b"
    assert statuses(telemetry) == [302]


def test_a_redirect_that_the_application_follows_itself_is_a_call_of_its_own(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.redirect("/a", "/b"), allow_redirects=False)

    session.send(response.next)

    assert resend_counts(telemetry) == [None, None]


def test_a_hop_that_fails_ends_as_an_error_and_the_one_before_as_it_was(instrument, telemetry, server, unused_port):
    instrument()

    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(server.redirect("/a", f"http://127.0.0.1:{unused_port}/"))

    assert statuses(telemetry) == [302, None]
    assert telemetry.spans[1].attributes["error.type"] == "requests.exceptions.ConnectionError"


def test_the_response_of_each_hop_is_given_to_the_hook(instrument, server):
    seen = []
    instrument(response_hook=lambda span, request, response: seen.append((request.url, response.url)))

    requests.get(server.redirect("/a", "/b"))

    assert seen == [(f"{server.url}/a",) * 2, (f"{server.url}/b",) * 2]


def test_each_retry_of_a_status_has_a_span_and_headers_of_its_own(instrument, telemetry, server, session):
    instrument()
    url = server.answer("/", Answer(503), Answer(503), Answer(200))

    response = retrying(session, status_forcelist=[503]).get(url)

    assert response.status_code == 200
    assert statuses(telemetry) == [503, 503, 200]
    assert resend_counts(telemetry) == [None, 1, 2]
    assert sent_span_ids(server) == span_ids(telemetry)


def test_each_retry_tells_the_size_of_its_own_body(instrument, telemetry, server, session):
    instrument()
    answers = (Answer(503, body=b"x" * 700), Answer(503, chunks=[b"a" * 20, b"b" * 10]), Answer(200, body=b"x" * 5))

    retrying(session, status_forcelist=[503]).get(server.answer("/", *answers))

    assert [span.attributes["http.response.body.size"] for span in telemetry.spans] == [700, 30, 5]


class FetchingAToken(HTTPAdapter):
    """Sends another request before each one, in a session of its own.

    Args:
        fetch: sends it.
    """

    def __init__(self, fetch):
        super().__init__()
        self.fetch = fetch

    def send(self, request, **kwargs):
        self.fetch()
        return super().send(request, **kwargs)


def test_a_suppressed_request_within_another_is_no_attempt_of_it(instrument, telemetry, server, session):
    def fetch():
        with suppress_instrumentation():
            requests.get(f"{server.url}/token")

    instrument()
    session.mount("http://", FetchingAToken(fetch))

    session.get(server.url)

    assert statuses(telemetry) == [200]
    assert resend_counts(telemetry) == [None]


def test_an_excluded_request_within_another_is_no_attempt_of_it(instrument, telemetry, server, session):
    instrument(excluded_urls="/token")
    session.mount("http://", FetchingAToken(lambda: requests.get(f"{server.url}/token")))

    session.get(server.url)

    assert statuses(telemetry) == [200]
    assert resend_counts(telemetry) == [None]


def test_a_request_of_a_session_that_is_not_told_of_within_another_is_no_attempt_of_it(
    instrument, telemetry, server, session
):
    silent = requests.Session()
    instrument()
    uninstrument_session(silent)
    session.mount("http://", FetchingAToken(lambda: silent.get(f"{server.url}/token")))

    session.get(server.url)

    assert statuses(telemetry) == [200]
    assert resend_counts(telemetry) == [None]


def test_each_retry_carries_a_request_id_of_its_own(instrument, telemetry, server, session):
    instrument()
    Context.new("abc")
    url = server.answer("/", Answer(503), Answer(200))

    retrying(session, status_forcelist=[503]).get(url)

    assert server.header("X-Request-Id") == [f"{span_id}-abc" for span_id in span_ids(telemetry)]


def test_after_retries_the_request_of_the_response_has_what_the_last_attempt_has_sent(instrument, server, session):
    instrument()
    url = server.answer("/", Answer(503), Answer(broken=True), Answer(200))

    response = retrying(session, status_forcelist=[503]).get(url, headers={"X-Own": "own"})

    assert response.request.headers["traceparent"] == server.header("traceparent")[-1]
    assert response.request.headers["X-Request-Id"] == server.header("X-Request-Id")[-1]
    assert response.request.headers["X-Own"] == "own"


def test_a_retry_after_a_broken_connection_tells_what_broke(instrument, telemetry, server, session):
    instrument()
    url = server.answer("/", Answer(broken=True), Answer(200))

    retrying(session).get(url)

    assert statuses(telemetry) == [None, 200]
    assert telemetry.spans[0].attributes["error.type"] == "urllib3.exceptions.ProtocolError"


def test_retries_that_never_connect_are_attempts_too(instrument, telemetry, session, unused_port):
    instrument()

    with pytest.raises(requests.exceptions.ConnectionError):
        retrying(session).get(f"http://127.0.0.1:{unused_port}/")

    assert [span.attributes["error.type"] for span in telemetry.spans] == [
        *["urllib3.exceptions.NewConnectionError"] * 3,
        "requests.exceptions.ConnectionError",
    ]


def test_retries_that_are_used_up_are_an_error_with_the_last_status(instrument, telemetry, server, session):
    instrument()

    with pytest.raises(requests.exceptions.RetryError):
        retrying(session, status_forcelist=[503]).get(server.answer("/", Answer(503)))

    assert statuses(telemetry) == [503] * 4
    assert telemetry.spans[3].attributes["error.type"] == "requests.exceptions.RetryError"


def test_the_wait_before_a_retry_belongs_to_no_span(instrument, telemetry, server, session):
    instrument()
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0, status_forcelist=[503])))
    url = server.answer("/", Answer(503, {"Retry-After": "1"}), Answer(200))

    session.get(url)

    first, second = telemetry.spans
    assert second.start_time - first.end_time > 900e6
    assert first.end_time - first.start_time < 900e6


def test_a_digest_challenge_and_its_answer_are_two_requests(instrument, telemetry, server, session):
    instrument()
    url = server.answer("/", Answer(401, CHALLENGE), Answer(200))

    response = session.get(url, auth=HTTPDigestAuth("me", "secret"))

    assert response.status_code == 200
    assert statuses(telemetry) == [401, 200]
    assert resend_counts(telemetry) == [None, 1]
    assert sent_span_ids(server) == span_ids(telemetry)


def test_what_authentication_answers_to_fails_like_any_request(instrument, telemetry, server, session):
    instrument()
    url = server.answer("/", Answer(401, CHALLENGE), Answer(broken=True))

    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(url, auth=HTTPDigestAuth("me", "secret"))

    assert statuses(telemetry) == [401, None]


def test_retries_redirects_and_authentication_go_together(instrument, telemetry, server, session):
    instrument()
    server.answer("/b", Answer(503), Answer(401, CHALLENGE), Answer(503), Answer(200))

    response = retrying(session, status_forcelist=[503]).get(
        server.redirect("/a", "/b"), auth=HTTPDigestAuth("me", "secret")
    )

    assert response.status_code == 200
    assert statuses(telemetry) == [302, 503, 401, 503, 200]
    assert resend_counts(telemetry) == [None, 1, 2, 3, 4]
    assert sent_span_ids(server) == span_ids(telemetry)


def test_a_token_fetched_while_a_call_lasts_is_a_call_of_its_own(instrument, telemetry, server, session):
    class Token(AuthBase):
        def __call__(self, request):
            request.register_hook("response", lambda response, **_: session.get(f"{server.url}/token") and None)
            return request

    instrument()

    session.get(f"{server.url}/", auth=Token())

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/token", f"{server.url}/"]
    assert resend_counts(telemetry) == [None, None]


def test_an_adapter_that_tries_another_host_makes_two_attempts(instrument, telemetry, server, session, unused_port):
    class Failover(HTTPAdapter):
        def send(self, request, *args, **kwargs):
            try:
                return super().send(request, *args, **kwargs)
            except requests.exceptions.ConnectionError:
                request.url = f"{server.url}/"
                return super().send(request, *args, **kwargs)

    instrument()
    session.mount("http://", Failover())

    session.get(f"http://127.0.0.1:{unused_port}/")

    assert statuses(telemetry) == [None, 200]
    assert telemetry.spans[0].attributes["error.type"] == "requests.exceptions.ConnectionError"
    assert telemetry.spans[1].attributes["url.full"] == f"{server.url}/"


def test_an_adapter_of_the_applications_own_makes_one_request_of_each_send(instrument, telemetry, session):
    class Fixed(BaseAdapter):
        def send(self, request, **kwargs):
            response = requests.Response()
            response.status_code = 302 if request.url.endswith("/a") else 404
            response.headers["location"] = "mock://host/b"
            response.request, response.url, response._content = request, request.url, b""
            return response

        def close(self):
            pass

    instrument()
    session.mount("mock://", Fixed())

    session.get("mock://host/a")

    assert statuses(telemetry) == [302, 404]
    assert resend_counts(telemetry) == [None, 1]


def test_urllib3_used_on_its_own_while_a_call_lasts_is_no_attempt(instrument, telemetry, server, session):
    def body():
        with urllib3.PoolManager(retries=Retry(1, status_forcelist=[503], backoff_factor=0)) as pool:
            yield pool.request("GET", server.answer("/source", Answer(503), Answer(200))).data

    instrument()

    session.post(f"{server.url}/", data=body())

    assert statuses(telemetry) == [200]
    assert [request.path for request in server.received] == ["/source", "/source", "/"]


def test_an_adapter_that_sends_a_copy_of_the_request_is_seen_into(instrument, telemetry, server, session):
    class Copying(HTTPAdapter):
        def send(self, request, *args, **kwargs):
            return super().send(request.copy(), *args, **kwargs)

    instrument()
    session.mount("http://", Copying(max_retries=Retry(3, backoff_factor=0, status_forcelist=[503])))

    response = session.get(server.answer("/", Answer(503), Answer(200)))

    assert statuses(telemetry) == [503, 200]
    assert sent_span_ids(server) == span_ids(telemetry)
    assert response.request.headers["traceparent"] == server.header("traceparent")[-1]


def test_an_agent_that_has_urllib3_send_a_copy_of_the_header_is_seen_through(
    instrument, telemetry, server, session, monkeypatch
):
    instrument()
    urlopen = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def agents(pool, method, url, body=None, headers=None, *args, **kwargs):
        headers = headers.copy()
        headers["traceparent"] = "the agent's"
        return urlopen(pool, method, url, body, headers, *args, **kwargs)

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", agents)
    retrying(session, status_forcelist=[503]).get(server.answer("/", Answer(503), Answer(200)))

    assert statuses(telemetry) == [503, 200]
    assert all("hopline.phase.headers" in span.attributes for span in telemetry.spans)
    assert server.header("X-Request-Id") == [span.attributes["hopline.request_id"] for span in telemetry.spans]


def test_what_the_session_is_asked_between_two_hops_is_a_call_of_its_own(instrument, telemetry, server):
    class Renewing(requests.Session):
        def rebuild_auth(self, prepared_request, response):
            self.get(f"{server.url}/token")
            super().rebuild_auth(prepared_request, response)

    instrument()

    with Renewing() as session:
        session.get(server.redirect("/a", "/b"))

    assert {
        span.attributes["url.full"]: span.attributes.get("http.request.resend_count") for span in telemetry.spans
    } == {
        f"{server.url}/a": None,
        f"{server.url}/token": None,
        f"{server.url}/b": 1,
    }


def test_redirects_that_the_application_has_resolved_are_calls_of_their_own(instrument, telemetry, server, session):
    instrument()
    server.redirect("/b", "/c")
    response = session.get(server.redirect("/a", "/b"), allow_redirects=False)

    followed = list(session.resolve_redirects(response, response.request))

    assert [response.status_code for response in followed] == [302, 200]
    assert statuses(telemetry) == [302, 302, 200]
    assert sent_span_ids(server) == span_ids(telemetry)


def test_digest_authentication_that_is_known_by_then_makes_one_request(instrument, telemetry, server, session):
    instrument()
    session.auth = HTTPDigestAuth("me", "secret")
    url = server.answer("/", Answer(401, CHALLENGE), Answer(200))

    session.get(url)
    session.get(url)

    assert resend_counts(telemetry) == [None, 1, None]


def test_each_answer_to_a_challenge_carries_a_request_id_of_its_own(instrument, telemetry, server, session):
    instrument()
    Context.new("abc")

    session.post(
        server.answer("/", Answer(401, CHALLENGE), Answer(200)), data=b"x", auth=HTTPDigestAuth("me", "secret")
    )

    assert server.header("X-Request-Id") == [f"{span_id}-abc" for span_id in span_ids(telemetry)]
    assert [request.body for request in server.received] == [b"x", b"x"]


def test_urllib3_used_on_its_own_before_the_request_is_sent_is_no_attempt(
    instrument, telemetry, server, other_server, session
):
    class Signing(HTTPAdapter):
        def add_headers(self, request, **kwargs):
            with urllib3.PoolManager(retries=Retry(1, status_forcelist=[503], backoff_factor=0)) as pool:
                request.headers["X-Token"] = pool.request("GET", f"{other_server.url}/token").data.decode()

    instrument()
    other_server.answer("/token", Answer(503), Answer(200, body=b"token"))
    session.mount("http://", Signing())

    session.get(server.url)

    assert statuses(telemetry) == [200]
    assert telemetry.span.attributes["network.peer.port"] == server.port
    assert server.header("X-Token") == ["token"]


def test_what_happens_between_two_hops_belongs_to_neither(instrument, telemetry, server):
    class Slow(requests.Session):
        def rebuild_auth(self, prepared_request, response):
            reached.append(time.time_ns())
            time.sleep(0.01)
            super().rebuild_auth(prepared_request, response)

    reached = []
    instrument()
    server.redirect("/b", "/c")

    with Slow() as session:
        session.get(server.redirect("/a", "/b"))

    # The second time requests only looks where the second hop leads, which is part of sending it.
    assert telemetry.spans[1].end_time <= reached[2]


def letting_in(session, *, copied):
    """Have a session renew its token in a hook when it is not let in, and send the request once more."""

    def renew(response, **arguments):
        if response.status_code == 401:
            request = response.request.copy() if copied else response.request
            request.headers["Authorization"] = "Bearer new"
            return session.send(request, **arguments)
        return None

    session.hooks["response"].append(renew)
    return session


@pytest.mark.parametrize("copied", [False, True])
def test_a_request_that_a_hook_of_the_session_sends_again_is_a_resend(instrument, telemetry, server, session, copied):
    instrument()
    url = server.answer("/", Answer(401), Answer(200))

    with telemetry.tracer.start_as_current_span("caller") as caller:
        assert letting_in(session, copied=copied).get(url).status_code == 200

    first, second, _ = telemetry.spans
    assert (statuses(telemetry)[:2], resend_counts(telemetry)[:2]) == ([401, 200], [None, 1])
    assert {first.parent.span_id, second.parent.span_id} == {caller.get_span_context().span_id}
    assert sent_span_ids(server) == span_ids(telemetry)[:2]


def test_a_hook_that_puts_another_response_in_the_place_of_the_one_that_came_does_not_change_the_span(
    instrument, telemetry, server, session
):
    made_up = requests.Response()
    made_up.status_code, made_up._content, made_up.raw = 200, b"", urllib3.HTTPResponse()
    instrument()
    session.hooks["response"].append(lambda response, **_: made_up)

    assert session.get(server.answer("/", Answer(503))).status_code == 200

    assert statuses(telemetry) == [503]


def test_what_a_hook_asks_of_the_same_session_meanwhile_is_a_call_of_its_own(instrument, telemetry, server, session):
    def also(response, **_):
        if response.request.path_url == "/a":
            session.get(f"{server.url}/b")

    instrument()
    session.hooks["response"].append(also)

    session.get(f"{server.url}/a")

    inner, outer = telemetry.spans
    assert inner.parent.span_id == outer.context.span_id
    assert resend_counts(telemetry) == [None, None]
