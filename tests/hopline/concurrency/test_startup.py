"""Under `opentelemetry-instrument`, what patches threads and sockets finds what it needs to find."""

from importlib.util import find_spec

import pytest
import trustme

from tests.collector import spans_received
from tests.loopback import LoopbackServer

pytestmark = pytest.mark.processes


def test_nothing_that_patching_replaces_has_been_taken_before_the_program_starts(start):
    program = """
        import sys
        print(sorted({"requests", "urllib3", "http.client", "aiohttp", "celery"} & sys.modules.keys()))
    """

    assert start(program, OTEL_EXPORTER_STATSD_ENDPOINT="udp://127.0.0.1:9").ended() == ("[]", "")


def test_a_program_that_patches_first_hears_of_nothing_and_its_spans_arrive(start, server):
    program = """
        from gevent import monkey; monkey.patch_all()
        from opentelemetry import trace
        with trace.get_tracer("test").start_as_current_span("span"):
            print("done")
    """

    assert start(program, OTEL_BSP_SCHEDULE_DELAY="3600000").ended() == ("done", "")
    assert [span.name for span in spans_received(server)] == ["span"]


def test_spans_arrive_while_the_program_runs(start, server):
    program = """
        from gevent import monkey; monkey.patch_all()
        import gevent
        from gevent.fileobject import FileObjectPosix
        from opentelemetry import trace
        with trace.get_tracer("test").start_as_current_span("span"):
            pass
        FileObjectPosix(0).read()
    """

    process = start(program, OTEL_BSP_SCHEDULE_DELAY="50")
    arrived = server.wait_until(lambda: [span.name for span in spans_received(server)] == ["span"])

    assert process.ended() == ("", "")
    assert arrived


def test_a_program_that_does_not_patch_exports_its_spans_at_its_end(start, server):
    program = """
        from opentelemetry import trace
        with trace.get_tracer("test").start_as_current_span("span"):
            print("done")
    """

    assert start(program, OTEL_BSP_SCHEDULE_DELAY="3600000").ended() == ("done", "")
    assert [span.name for span in spans_received(server)] == ["span"]


def test_a_program_that_only_measures_exports_at_its_end(start, server):
    program = """
        from opentelemetry import metrics
        metrics.get_meter("test").create_counter("counted").add(1)
    """

    assert start(program, OTEL_METRICS_EXPORTER="otlp").ended() == ("", "")
    assert [request.path for request in server.received] == ["/v1/metrics"]


def test_a_program_may_shut_down_before_it_has_made_a_span(start):
    program = """
        from opentelemetry import trace
        trace.get_tracer_provider().shutdown()
    """

    assert start(program).ended() == ("", "")


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["no gevent", "gevent"])
@pytest.mark.parametrize("first", [True, False], ids=["patched before the fork", "patched in the child"])
def test_a_forked_child_exports_its_own_spans(patch, first, start, server):
    program = """
        import os, sys
        {before}
        from opentelemetry import trace

        def make(name):
            with trace.get_tracer("test").start_as_current_span(name):
                pass

        child = os.fork()
        if not child:
            {after}
            make("child")
            trace.get_tracer_provider().shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        make("parent")
    """

    start(program.format(before=patch if first else "", after="" if first else patch)).ended()

    assert sorted(span.name for span in spans_received(server)) == ["child", "parent"]


def test_flushing_from_many_greenlets_while_spans_are_exported_blocks_nobody(start, server):
    program = """
        from gevent import monkey; monkey.patch_all()
        import gevent
        from opentelemetry import trace
        tracer = trace.get_tracer("test")

        def work(number):
            for _ in range(100):
                with tracer.start_as_current_span("span"):
                    gevent.sleep(0)
            trace.get_tracer_provider().force_flush()

        gevent.joinall([gevent.spawn(work, number) for number in range(10)], raise_error=True)
        print("done")
    """

    assert start(program, OTEL_BSP_SCHEDULE_DELAY="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="50").ended() == ("done", "")
    assert len(spans_received(server)) == 1000


@pytest.mark.skipif(find_spec("eventlet") is None, reason="eventlet is not installed: not for this Python")
def test_flushing_from_many_green_threads_of_eventlet_blocks_nobody(start, server):
    program = """
        import warnings; warnings.simplefilter("ignore")  # eventlet says that it is deprecated
        import eventlet; eventlet.monkey_patch()
        from opentelemetry import trace
        tracer = trace.get_tracer("test")

        def work(number):
            for _ in range(20):
                with tracer.start_as_current_span("span"):
                    eventlet.sleep(0)
            trace.get_tracer_provider().force_flush()
            return number

        print(sum(eventlet.GreenPool(10).imap(work, range(10))))
    """

    output, _ = start(program, OTEL_BSP_SCHEDULE_DELAY="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="50").ended()

    assert output == "45"
    assert len(spans_received(server)) == 200


def test_tls_works_in_greenlets_of_a_program_that_patches_first(start, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    program = """
        from gevent import monkey; monkey.patch_all()
        import sys
        import gevent
        import requests

        def get(number):
            return requests.get(f"{url}/{{number}}", verify=r"{ca}").status_code

        print([gevent.spawn(get, number).get() for number in range(3)])
    """

    with LoopbackServer(server_tls(authority)) as secure:
        process = start(program.format(url=secure.url, ca=tmp_path / "ca.pem"))
        assert process.ended() == ("[200, 200, 200]", "")


def server_tls(authority):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_program_that_imports_urllib3_before_it_patches_is_warned_once(start):
    program = """
        import logging, warnings
        logging.basicConfig(format="%(levelname)s %(message)s")
        warnings.simplefilter("ignore")  # gevent's own
        import urllib3
        from gevent import monkey
        monkey.patch_all()
        monkey.patch_all()
    """

    _, errors = start(program).ended()

    (line,) = errors.splitlines()
    assert line.startswith("WARNING gevent.monkey.patch_all() came after the import of urllib3: ")


def test_a_program_whose_own_module_took_from_ssl_before_it_patches_is_warned(start, tmp_path):
    (tmp_path / "early.py").write_text("from ssl import SSLContext")
    program = """
        import warnings
        warnings.simplefilter("ignore")  # gevent's own
        import early
        from gevent import monkey; monkey.patch_all()
    """

    _, errors = start(program).ended()

    assert "came after the import of early:" in errors


@pytest.mark.parametrize(
    "program",
    [
        "import ssl; from gevent import monkey; monkey.patch_all()",
        "import urllib3; from gevent import monkey; monkey.patch_all(ssl=False)",
    ],
    ids=["ssl itself", "ssl is not to be patched"],
)
def test_a_program_that_patches_in_time_is_not_warned(program, start):
    assert start(program).ended() == ("", "")


def test_grequests_sends_the_id_and_the_trace_from_every_greenlet(start, server):
    program = """
        import grequests
        from opentelemetry import trace
        from hopline import Context

        Context.new("abc")
        with trace.get_tracer("test").start_as_current_span("request"):
            answers = grequests.map([grequests.get("{url}/%d" % number) for number in range(10)], size=5)
        print([answer.status_code for answer in answers])
    """

    output, errors = start(program.format(url=server.url)).ended()

    assert (output, errors) == (str([200] * 10), "")
    spans = {span.span_id: span for span in spans_received(server)}
    sent = [request for request in server.received if request.method == "GET"]
    assert {request.headers["X-Request-Id"] for request in sent} == {
        f"{span_id}-abc" for span_id, span in spans.items() if span.name == "GET"
    }
    assert len(sent) == 10
    assert len({span.trace_id for span in spans.values()}) == 1
