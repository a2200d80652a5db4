"""What a request carries, and where it may be carried to: asserted on what the server received."""

from __future__ import annotations

import copy
import io
import pickle
import re

import pytest
import requests
from opentelemetry import baggage, context, propagate
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline import Context
from hopline.requests import RequestsInstrumentor, configure
from tests.programs import run_code

FIELDS = ("traceparent", "baggage", "X-Request-Id")


def carry_everything():
    """Have a context with something for each field."""
    Context.new("abc")
    context.attach(baggage.set_baggage("tenant", "blue"))


def carried(server, index=0):
    return {name for name in FIELDS if server.received[index].headers.get(name) is not None}


def test_a_request_carries_trace_baggage_and_request_id(instrument, server):
    carry_everything()
    instrument()

    requests.get(server.url)

    assert carried(server) == set(FIELDS)
    assert server.header("baggage") == ["tenant=blue"]


def test_a_span_with_a_context_of_its_own_kind_is_carried_too(instrument, server, monkeypatch):
    class Known:
        trace_id, span_id, is_remote, trace_flags, is_valid = 0xABC, 0xDEF, False, TraceFlags(1), True
        trace_state = TraceState([("vendor", "7")])

    monkeypatch.setattr(NonRecordingSpan, "get_span_context", lambda _: Known)
    Context.new("root")
    instrument(tracer_provider=NoOpTracerProvider())

    requests.get(server.url)

    assert server.header("traceparent") == [f"00-{0xABC:032x}-{0xDEF:016x}-01"]
    assert server.header("tracestate") == ["vendor=7"]
    assert server.header("X-Request-Id") == [f"{0xDEF:016x}-root"]


def test_a_request_id_leads_to_the_span_that_sent_it(instrument, telemetry, server):
    instrument()
    Context.new("abc")

    requests.get(server.url)

    assert server.header("X-Request-Id") == [f"{telemetry.span.context.span_id:016x}-abc"]


def test_outside_of_any_request_the_hop_itself_is_the_id(instrument, telemetry, server):
    instrument()

    requests.get(server.url)

    assert server.header("X-Request-Id") == [f"{telemetry.span.context.span_id:016x}"]


def test_headers_that_the_user_set_stay_and_the_span_has_the_id_that_was_sent(instrument, telemetry, server):
    instrument()
    Context.new("abc")

    requests.get(server.url, headers={"x-request-id": "mine", "Traceparent": "00-1-2-00"})

    assert server.header("x-request-id") == ["mine"]
    assert server.header("traceparent") == ["00-1-2-00"]
    assert telemetry.span.attributes["hopline.request_id"] == "mine"


def test_a_request_that_is_sent_twice_carries_fresh_headers(instrument, telemetry, server, session):
    instrument()
    request = session.prepare_request(requests.Request("GET", server.url))

    session.send(request)
    session.send(request)

    assert [header.split("-")[2] for header in server.header("traceparent")] == [
        f"{span.context.span_id:016x}" for span in telemetry.spans
    ]


def test_a_request_that_is_sent_twice_does_not_carry_what_was_only_there_the_first_time(instrument, server, session):
    instrument()
    request = session.prepare_request(requests.Request("GET", server.url))
    token = context.attach(baggage.set_baggage("tenant", "blue"))
    session.send(request)
    context.detach(token)

    session.send(request)

    assert server.header("baggage") == ["tenant=blue", None]


@pytest.mark.parametrize(
    ("kind", "field"), [("trace", "traceparent"), ("baggage", "baggage"), ("request_id", "X-Request-Id")]
)
def test_each_kind_of_header_can_be_denied_on_its_own(instrument, server, kind, field):
    carry_everything()
    instrument(**{f"propagate_{kind}": "*,!127.*"})

    requests.get(server.url)

    assert carried(server) == set(FIELDS) - {field}


@pytest.mark.parametrize(
    ("kind", "field"), [("TRACE", "traceparent"), ("BAGGAGE", "baggage"), ("REQUEST_ID", "X-Request-Id")]
)
@pytest.mark.parametrize("hosts", ["*.internal,api.example.com", "*,!127.*", "!127.0.0.1"])
def test_a_kind_of_header_can_be_denied_by_the_environment(instrument, server, monkeypatch, kind, field, hosts):
    carry_everything()
    monkeypatch.setenv(f"OTEL_PYTHON_HOPLINE_PROPAGATE_{kind}", hosts)
    instrument()

    requests.get(server.url)

    assert carried(server) == set(FIELDS) - {field}


def test_a_redirect_takes_away_what_the_next_host_may_not_have(instrument, server):
    carry_everything()
    instrument(propagate_baggage="127.0.0.1", propagate_request_id="127.0.0.1")

    requests.get(server.redirect("/a", f"http://localhost:{server.port}/b"))

    assert carried(server, 0) == set(FIELDS)
    assert carried(server, 1) == {"traceparent"}


def test_a_redirect_brings_what_the_next_host_may_have(instrument, server):
    carry_everything()
    instrument(propagate_baggage="localhost")

    requests.get(server.redirect("/a", f"http://localhost:{server.port}/b"))

    assert carried(server, 0) == {"traceparent", "X-Request-Id"}
    assert carried(server, 1) == set(FIELDS)


def test_a_redirect_to_an_excluded_url_carries_ids_and_makes_no_span(instrument, telemetry, server):
    carry_everything()
    instrument(excluded_urls="/b$")

    with telemetry.tracer.start_as_current_span("caller") as caller:
        requests.get(server.redirect("/a", "/b"))

    assert [span.attributes.get("url.full") for span in telemetry.spans] == [f"{server.url}/a", None]
    assert carried(server, 1) == set(FIELDS)
    assert f"{caller.get_span_context().span_id:016x}" in server.header("traceparent")[1]


def test_a_host_list_with_a_mistake_lets_nobody_have_the_header_and_says_so_once(
    instrument, server, monkeypatch, caplog
):
    carry_everything()
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_PROPAGATE_BAGGAGE", "http://127.0.0.1")
    instrument()

    requests.get(server.url)

    assert carried(server) == {"traceparent", "X-Request-Id"}
    (record,) = [record for record in caplog.records if record.name.startswith("hopline")]
    assert record.levelname == "WARNING"
    assert "OTEL_PYTHON_HOPLINE_PROPAGATE_BAGGAGE='http://127.0.0.1'" in record.getMessage()


def test_a_host_list_with_a_mistake_in_code_is_refused():
    with pytest.raises(ValueError, match=r"'http://127\.0\.0\.1' is not a host pattern"):
        RequestsInstrumentor().instrument(propagate_trace="http://127.0.0.1")


def test_the_id_is_carried_where_the_application_sets_its_own_propagators(instrument, telemetry, server):
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    instrument()

    requests.get(server.url)

    assert re.fullmatch(r"[0-9a-f]{16}", server.header("X-Request-Id")[0])


def test_the_id_is_not_carried_where_the_environment_names_propagators_without_it(instrument, server, monkeypatch):
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext")
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    instrument()

    requests.get(server.url)

    assert server.header("X-Request-Id") == [None]


def test_a_propagator_that_raises_costs_its_headers_and_not_the_request(instrument, telemetry, server, caplog):
    class Broken(TraceContextTextMapPropagator):
        def inject(self, *args, **kwargs):
            raise RuntimeError("broken")

    propagate.set_global_textmap(Broken())
    instrument()

    requests.get(server.url)
    requests.get(server.url)

    assert [span.attributes["http.response.status_code"] for span in telemetry.spans] == [200, 200]
    assert len([record for record in caplog.records if record.name == "hopline"]) == 1


@pytest.mark.parametrize("again", [lambda request: request, copy.deepcopy, requests.PreparedRequest.copy])
def test_a_request_that_is_copied_and_sent_again_carries_fresh_headers(instrument, telemetry, server, session, again):
    instrument()
    request = session.prepare_request(requests.Request("GET", server.url))
    session.send(request)

    session.send(again(request))

    assert server.header("X-Request-Id") == [f"{span.context.span_id:016x}" for span in telemetry.spans]


@pytest.mark.parametrize("suppress", [suppress_instrumentation, suppress_http_instrumentation])
def test_a_request_that_is_sent_again_while_instrumentation_is_suppressed_carries_nothing_of_ours(
    instrument, server, session, suppress
):
    carry_everything()
    instrument()
    request = session.prepare_request(requests.Request("GET", server.url, headers={"X-Own": "1"}))
    session.send(request)

    with suppress():
        session.send(request)

    assert carried(server, 0) == set(FIELDS)
    assert carried(server, 1) == set()
    assert server.header("X-Own") == ["1", "1"]


def test_a_request_that_a_session_sends_again_that_is_left_alone_carries_nothing_of_ours(instrument, server, session):
    carry_everything()
    instrument()
    request = session.prepare_request(requests.Request("GET", server.url))
    session.send(request)
    RequestsInstrumentor.uninstrument_session(session)

    session.send(request)

    assert carried(server, 1) == set()


def test_a_request_that_is_sent_again_by_a_session_that_was_never_told_of_carries_nothing_of_ours(
    telemetry, server, session
):
    carry_everything()
    with configure(requests.Session(), **telemetry.providers) as configured:
        request = configured.prepare_request(requests.Request("GET", server.url))
        configured.send(request)

        session.send(request)

    assert carried(server, 0) == set(FIELDS)
    assert carried(server, 1) == set()


def test_a_pickle_of_a_request_can_be_read_where_there_is_no_hopline(instrument, server, session):
    instrument()
    response = session.get(server.url)

    pickled = pickle.dumps(response.request)

    assert b"hopline" not in pickled
    assert pickle.loads(pickled).headers["X-Request-Id"] == server.header("X-Request-Id")[0]


def dumped_by_pyyaml(headers):
    import yaml

    return yaml.safe_dump(headers)


def dumped_by_a_dumper_of_pyyaml(headers):
    import yaml

    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    return yaml.dump(headers, Dumper=yaml.CDumper)


def dumped_by_ruamel(headers):
    from ruamel.yaml import YAML

    written = io.StringIO()
    YAML(typ="rt").dump(headers, written)
    return written.getvalue()


@pytest.mark.parametrize("dumped", [dumped_by_pyyaml, dumped_by_a_dumper_of_pyyaml, dumped_by_ruamel])
def test_the_header_of_a_request_can_be_written_down_in_yaml(instrument, server, dumped):
    Context.new("abc")
    instrument()

    request = requests.get(server.url).request

    assert f"X-Request-Id: {request.headers['X-Request-Id']}\n" in dumped(dict(request.headers))


def test_a_dumper_that_was_there_before_hopline_writes_the_header_too():
    program = """
        import yaml

        class Own(yaml.SafeDumper):
            pass

        Own.add_representer(complex, lambda dumper, value: dumper.represent_str(str(value)))

        from hopline.http.headers import Injected

        assert yaml.dump([Injected("a")], Dumper=Own) == "- a\\n"
    """

    run_code(program)


class SigningAnew(requests.Session):
    """Writes the header of each hop that it follows anew, as sessions that sign do, in bytes."""

    def rebuild_auth(self, prepared_request, response):
        super().rebuild_auth(prepared_request, response)
        for name, value in prepared_request.headers.items():
            prepared_request.headers[name] = value.encode()


def test_a_redirect_takes_away_what_was_written_anew(instrument, server, other_server):
    carry_everything()
    instrument(**dict.fromkeys(("propagate_trace", "propagate_baggage", "propagate_request_id"), "127.0.0.1"))
    elsewhere = other_server.url.replace("127.0.0.1", "localhost")

    SigningAnew().get(server.redirect("/a", elsewhere))

    assert (carried(server), carried(other_server)) == (set(FIELDS), set())


def test_a_redirect_refreshes_what_was_written_anew(instrument, telemetry, server):
    carry_everything()
    instrument()

    SigningAnew().get(server.redirect("/a", "/b"))

    sent = server.header("X-Request-Id")
    assert [span.attributes["hopline.request_id"] for span in telemetry.spans] == sent
    assert len(set(sent)) == 2


def test_each_host_is_decided_on_again_where_a_redirect_comes_back(instrument, server):
    carry_everything()
    instrument(propagate_trace="127.*", propagate_baggage="127.*", propagate_request_id="127.*")
    server.redirect("/b", f"{server.url}/c")

    requests.get(server.redirect("/a", f"http://localhost:{server.port}/b"))

    assert [carried(server, hop) for hop in range(3)] == [set(FIELDS), set(), set(FIELDS)]


def test_a_redirect_to_an_excluded_url_that_is_to_carry_nothing_carries_nothing_of_ours(instrument, telemetry, server):
    carry_everything()
    instrument(excluded_urls="/b$", propagate_to_excluded=False)
    server.redirect("/b", "/c")

    requests.get(server.redirect("/a", "/b"))

    assert [carried(server, hop) for hop in range(3)] == [set(FIELDS), set(), set(FIELDS)]
    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/a", f"{server.url}/c"]
