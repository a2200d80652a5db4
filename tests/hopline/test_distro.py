"""The distribution: what an application gets that is run under ``opentelemetry-instrument``, with no code for it."""

from __future__ import annotations

import json
import subprocess
import sys
from ast import literal_eval
from importlib.metadata import EntryPoint, entry_points, version

import pytest
from packaging.version import Version

from hopline import environment_variables as ours
from hopline.cli.otlp_receiver import OtlpReceiver
from hopline.distro import HoplineDistro, chosen_exporters
from hopline_statsd import environment_variables as statsds
from hopline_statsd.listener import StatsdListener
from tests.loopback import Answer
from tests.programs import INSTRUMENT, fetch, run_code

pytestmark = pytest.mark.processes

HEAVY = ("ssl", "urllib3", "requests", "aiohttp", "celery", "gevent")
ROOMS = {
    "aiohttp_client": "AioHttpClientInstrumentor",
    "aiohttp_server": "AioHttpServerInstrumentor",
    "asgi": "AsgiInstrumentor",
    "celery": "CeleryInstrumentor",
    "requests": "RequestsInstrumentor",
    "wsgi": "WsgiInstrumentor",
}


@pytest.fixture
def otlp():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def statsd():
    with StatsdListener() as listener:
        yield listener


def other_instrumentors():
    """The names of the instrumentors that other distributions in this environment bring."""
    found = entry_points(group="opentelemetry_instrumentor")
    return [each.name for each in found if each.dist is None or each.dist.name != "hopline"]


def warnings_in(finished):
    return [line for line in finished.stderr.splitlines() if line]


def test_spans_go_to_otlp_by_default(otlp, server):
    finished = fetch(server.url, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)

    (span,) = otlp.spans
    assert (span.service, span.kind, span.name) == ("app", "CLIENT", "GET")
    assert finished.stdout == f"200 {server.url}\n"
    assert warnings_in(finished) == []


def test_timers_go_to_statsd_too_once_an_endpoint_is_configured(otlp, statsd, server):
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
        "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint,
        "OTEL_EXPORTER_STATSD_PREFIX": "my.prefix",
    }

    finished = fetch(server.url, server.answer("/nothing", Answer(404)), **settings)

    assert statsd.wait_for(3)
    names = sorted(line.partition(":")[0] for line in statsd.lines)
    assert names == [
        "my.prefix.requests.127-0-0-1.GET.200",
        "my.prefix.requests.127-0-0-1.GET.404",
        "my.prefix.requests.127-0-0-1.connections",
    ]
    assert len(otlp.spans) == 2
    assert warnings_in(finished) == []


@pytest.mark.parametrize(
    ("variable", "value", "exporters"),
    [
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "udp://a", ["hopline_otlp", "statsd"]),
        ("STATSD_DSN", "udp://a", ["hopline_otlp", "statsd"]),
        ("STATSD_HOST", "a", ["hopline_otlp", "statsd"]),
        ("STATSD_PORT", "1", ["hopline_otlp"]),
        ("OTEL_EXPORTER_STATSD_ENDPOINT", " ", ["hopline_otlp"]),
    ],
)
def test_any_variable_that_names_a_server_turns_statsd_on(variable, value, exporters, monkeypatch):
    monkeypatch.setenv(variable, value)

    assert chosen_exporters()["traces"] == exporters


def test_the_statsd_timer_is_the_spans_duration(otlp, statsd, server):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}

    fetch(server.url, **settings)

    assert statsd.wait_for(2)
    (timer,) = [line for line in statsd.lines if line.endswith("|ms")]
    milliseconds = float(timer.partition(":")[2].removesuffix("|ms"))
    assert milliseconds == pytest.approx(otlp.spans[0].milliseconds, abs=0.001)


def test_requests_carry_the_trace_and_a_request_id(otlp, server):
    fetch(server.url, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)

    (span,) = otlp.spans
    assert server.header("traceparent")[0].startswith(f"00-{span.trace_id}-{span.span_id}-")
    assert server.header("X-Request-Id") == [span.span_id]
    assert span.attributes["hopline.request_id"] == span.span_id


def test_every_span_has_the_request_id_that_is_current(otlp):
    run_code(
        """
        from hopline import Context
        from opentelemetry import trace
        tracer = trace.get_tracer("app")
        tracer.start_span("before").end()
        Context.new("abc")
        tracer.start_span("during").end()
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
    )

    assert {span.name: span.attributes.get("hopline.request_id") for span in otlp.spans} == {
        "before": None,
        "during": "abc",
    }


def test_statsd_can_be_the_only_exporter(statsd, server):
    finished = fetch(server.url, OTEL_TRACES_EXPORTER="statsd", OTEL_EXPORTER_STATSD_ENDPOINT=statsd.endpoint)

    assert statsd.wait_for(2)
    assert statsd.lines[0].startswith("app.requests.127-0-0-1.GET.200:")
    assert warnings_in(finished) == []


def test_exporters_can_be_named_together(otlp, statsd, server):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}

    fetch(server.url, OTEL_TRACES_EXPORTER="otlp,statsd", **settings)

    assert statsd.wait_for(2)
    assert len(otlp.spans) == 1


def test_the_resource_names_the_distribution_and_its_version():
    tell = """
        from opentelemetry import trace
        print(dict(trace.get_tracer_provider().resource.attributes))
    """
    finished = run_code(tell, OTEL_TRACES_EXPORTER="none", OTEL_RESOURCE_ATTRIBUTES="shop=north")

    told = literal_eval(finished.stdout)
    assert (told["telemetry.distro.name"], told["telemetry.distro.version"]) == ("hopline", version("hopline"))
    assert (told["service.name"], told["shop"]) == ("app", "north")


def test_spans_can_go_to_the_console(server):
    finished = fetch(server.url, OTEL_TRACES_EXPORTER="console")

    printed = finished.stdout.partition("\n")[2]
    assert json.loads(printed)["attributes"]["url.full"] == f"{server.url}/"


def test_the_grpc_protocol_is_named_in_a_warning_where_it_is_not_installed(otlp, server):
    finished = fetch(server.url, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")

    (warning,) = {line for line in warnings_in(finished) if "grpc" in line}
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='grpc'" in warning
    assert len(otlp.spans) == 1


def test_an_exporter_that_is_not_installed_is_named_in_a_warning_and_the_others_work(otlp, server):
    finished = fetch(server.url, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, OTEL_TRACES_EXPORTER="otlp,nowhere")

    (warning,) = warnings_in(finished)
    assert "OTEL_TRACES_EXPORTER" in warning
    assert "'nowhere'" in warning
    assert len(otlp.spans) == 1


def test_what_is_not_sampled_is_counted_in_statsd_all_the_same(otlp, statsd, server):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}

    fetch(*[server.url] * 3, OTEL_TRACES_SAMPLER="always_off", **settings)

    assert statsd.wait_for(4)
    assert sum("GET.200" in line for line in statsd.lines) == 3
    assert otlp.spans == []
    assert all(header.endswith(("-00", "-02")) for header in server.header("traceparent"))


def test_a_disabled_sdk_disables_everything(otlp, statsd, server):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}

    fetch(server.url, OTEL_SDK_DISABLED="TRUE", **settings)

    assert otlp.spans == []
    assert statsd.lines == []
    assert server.header("traceparent") == [None]
    assert server.header("X-Request-Id") == [None]


def test_a_statsd_host_that_cannot_be_resolved_does_not_disturb_the_application(otlp, server):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": "udp://nowhere.invalid:8125"}

    finished = fetch(server.url, **settings)

    assert finished.stdout == f"200 {server.url}\n"
    assert len(otlp.spans) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_STATSD_ENDPOINT", "carrier-pigeon://loft"),
        ("OTEL_EXPORTER_STATSD_DIALECT", "latin"),
        ("OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE", "many"),
        ("OTEL_PYTHON_HOPLINE_PROPAGATE_TRACE", "http://host/"),
        ("OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE", "sideways"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_in_one_warning(statsd, server, variable, value):
    settings = {"OTEL_TRACES_EXPORTER": "statsd", "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint, variable: value}

    finished = fetch(server.url, **settings)

    assert finished.stdout == f"200 {server.url}\n"
    (warning,) = [line for line in warnings_in(finished) if variable in line]
    assert repr(value) in warning


def test_each_setting_that_makes_no_sense_is_named_once_however_many_there_are(server):
    settings = [name for module in (ours, statsds) for name in vars(module) if name.startswith(("OTEL_", "STATSD_"))]
    nonsense = dict.fromkeys(settings, "?!(") | {"OTEL_EXPORTER_STATSD_PREFIX": "..."}
    del nonsense["STATSD_PREFIX"]  # any prefix can be used

    finished = run_code(
        f"import aiohttp, requests, wsgiref.simple_server; print(requests.get({server.url!r}).status_code)",
        OTEL_TRACES_EXPORTER="statsd",
        OTEL_METRICS_EXPORTER="statsd",
        **nonsense,
    )

    assert finished.stdout == "200\n"
    named = [line.partition("=")[0] for line in warnings_in(finished)]
    assert {name: named.count(name) for name in nonsense} == dict.fromkeys(nonsense, 1)


def test_an_instrumentor_that_fails_costs_no_other(statsd, server):
    settings = {"OTEL_TRACES_EXPORTER": "statsd", "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}

    finished = fetch(server.url, OTEL_PYTHON_EXCLUDED_URLS="(", **settings)  # with it, FastAPI's raises

    assert "fastapi is not instrumented" in finished.stderr
    assert "OTEL_PYTHON_EXCLUDED_URLS='('" in finished.stderr
    assert statsd.wait_for(2)


def test_statsd_settings_are_options_of_the_command_too(statsd, server):
    options = (f"--exporter_statsd_endpoint={statsd.endpoint}", "--exporter_statsd_prefix=by.option")

    fetch(server.url, options=options, OTEL_TRACES_EXPORTER="statsd")

    assert statsd.wait_for(2)
    assert statsd.lines[0].startswith("by.option.requests.")


def test_nothing_is_imported_that_the_application_did_not_import(otlp, statsd):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint}
    finished = run_code(
        f"""
        import sys
        print([name for name in {HEAVY!r} if name in sys.modules])
        """,
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(other_instrumentors()),
        **settings,
    )

    # From version 2.2 on wrapt, which OpenTelemetry's own loader imports, imports asyncio and with it ssl.
    by_wrapt = ["ssl"] if Version(version("wrapt")) >= Version("2.2") else []
    assert finished.stdout == f"{by_wrapt}\n"
    assert warnings_in(finished) == []


def test_no_room_is_loaded_before_the_application_imports_its_library(otlp):
    finished = run_code(
        f"""
        import sys
        rooms = {ROOMS!r}
        print([name for name in rooms if f"hopline.{{name}}" in sys.modules])
        import requests, celery
        print([name for name in rooms if f"hopline.{{name}}" in sys.modules])
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(other_instrumentors()),
    )

    assert finished.stdout == "[]\n['celery', 'requests']\n"
    assert warnings_in(finished) == []


@pytest.mark.parametrize("room", ROOMS)
def test_an_application_that_imports_a_room_first_finds_its_instrumentor_at_work(otlp, room):
    finished = run_code(
        f"""
        from hopline.{room} import {ROOMS[room]} as Instrumentor
        print(Instrumentor().is_instrumented_by_opentelemetry)
        Instrumentor().uninstrument()
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
    )

    assert finished.stdout == "True\n"
    assert warnings_in(finished) == []


def test_the_environment_of_the_application_stays_its_own():
    finished = run_code("import os; print(sorted(name for name in os.environ if name.startswith('OTEL_')))")

    assert finished.stdout == "['OTEL_BSP_SCHEDULE_DELAY', 'OTEL_METRICS_EXPORTER', 'OTEL_SERVICE_NAME']\n"


def test_spans_that_are_left_at_the_end_are_exported(otlp):
    run_code(
        "from opentelemetry import trace; trace.get_tracer('app').start_span('last').end()",
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )

    assert [span.name for span in otlp.spans] == ["last"]


def test_the_application_may_end_with_any_status():
    finished = subprocess.run([INSTRUMENT, sys.executable, "-c", "raise SystemExit(7)"], check=False, timeout=60)

    assert finished.returncode == 7


def test_another_instrumentor_of_the_same_library_is_left_out_with_a_word(caplog):
    (theirs,) = entry_points(group="opentelemetry_instrumentor", name="urllib3")
    same_library = EntryPoint("requests", theirs.value, theirs.group)._for(theirs.dist)
    caplog.set_level("INFO")

    HoplineDistro().load_instrumentor(same_library)

    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "hopline instruments requests itself" in record.getMessage()
    assert "URLLib3Instrumentor is left out" in record.getMessage()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="since Python 3.14")
def test_a_sub_interpreter_says_that_it_exports_nothing_and_sends_request_ids_all_the_same(otlp, server):
    finished = run_code(
        f"""
        from concurrent import interpreters
        interpreter = interpreters.create()
        interpreter.exec("import requests; requests.get({server.url!r})")
        interpreter.close()
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(other_instrumentors()),
    )

    (request_id,) = server.header("X-Request-Id")
    assert request_id
    assert otlp.spans == []
    warning = warnings_in(finished)[0]  # the others are of requests, one of whose libraries cannot be loaded there
    assert warning == "nothing is exported from this sub-interpreter: it may not have the SDK's daemon threads"
    assert "Traceback" not in finished.stderr
