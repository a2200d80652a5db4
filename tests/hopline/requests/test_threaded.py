"""The thread pool: requests-toolbelt's interface, in the context of whoever submits a job."""

from __future__ import annotations

import copy
import inspect
import pickle
import queue
import subprocess
import sys
import textwrap
import threading
from operator import attrgetter

import gevent
import pytest
import requests
from requests_toolbelt import threaded as toolbelt

from hopline import Context
from hopline.requests import configure, threaded
from hopline.requests.threaded import pool
from hopline_statsd.listener import StatsdListener
from tests.loopback import Answer
from tests.servers import wait_until


def test_map_makes_all_requests(server):
    responses, exceptions = threaded.map(
        [{"method": "GET", "url": f"{server.url}/{n}"} for n in range(20)], num_processes=4
    )

    assert sorted(response.url for response in responses) == sorted(f"{server.url}/{n}" for n in range(20))
    assert list(exceptions) == []


@pytest.mark.parametrize("nothing", [[], None, ["http://127.0.0.1/"]])
def test_map_takes_a_list_of_dictionaries(nothing):
    with pytest.raises(ValueError, match="list of dictionaries"):
        threaded.map(nothing)


def test_a_response_has_its_job_and_the_attributes_of_the_response(server):
    jobs = pool.Pool.from_urls([server.url])
    jobs.join_all()

    response = jobs.get_response()

    assert response.request_kwargs == {"method": "GET", "url": server.url}
    assert isinstance(response.response, requests.Response)
    assert response.status_code == 200
    assert jobs.get_response() is None


def test_an_exception_in_one_job_does_not_stop_the_others(server, unused_port):
    bad = f"http://127.0.0.1:{unused_port}/"
    responses, exceptions = threaded.map(
        [
            {"method": "GET", "url": bad},
            {"method": "GET", "url": server.url, "no_such_argument": 1},
            {"method": "GET", "url": server.url},
        ],
        num_processes=1,
    )

    first, second = exceptions
    assert isinstance(first.exception, requests.exceptions.ConnectionError)
    assert first.request.url == bad
    assert isinstance(second.exception, TypeError)
    assert [response.text for response in responses] == ["ok"]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
def test_what_came_of_a_job_can_be_copied_and_pickled(server, again):
    jobs = [{"method": "GET", "url": server.url}, {"method": "GET", "url": "nowhere"}]
    responses, exceptions = threaded.map(jobs, num_processes=1)

    response, exception = again(next(responses)), again(next(exceptions))

    assert (response.status_code, response.request_kwargs) == (200, jobs[0])
    assert isinstance(exception.exception, requests.exceptions.MissingSchema)


def test_the_sessions_before_one_that_cannot_be_set_up_are_closed(server):
    made, closed = [], []

    class Session(requests.Session):
        def close(self):
            closed.append(self)
            super().close()

    def initialize(session):
        made.append(session)
        if len(made) == 3:
            raise LookupError

    with pytest.raises(LookupError):
        pool.Pool.from_urls([server.url] * 3, num_processes=3, initializer=initialize, session=Session)

    assert set(closed) == set(made[:2])


def test_what_failed_can_be_tried_again(server):
    server.answer("/", Answer(broken=True), Answer(200))
    first = pool.Pool.from_urls([f"{server.url}/"])
    first.join_all()

    second = pool.Pool.from_exceptions(first.exceptions())
    second.join_all()

    assert [response.status_code for response in second.responses()] == [200]


def test_request_arguments_are_for_each_url(server):
    jobs = pool.Pool.from_urls([f"{server.url}/a", f"{server.url}/b"], {"method": "PUT", "data": b"x"})
    jobs.join_all()

    assert sorted((request.method, request.path, request.body) for request in server.received) == [
        ("PUT", "/a", b"x"),
        ("PUT", "/b", b"x"),
    ]


def test_any_queue_will_do(server):
    jobs = queue.Queue()
    jobs.put({"method": "GET", "url": server.url})

    pool.Pool(job_queue=jobs).join_all()

    assert len(server.received) == 1
    jobs.join()


def test_sessions_are_made_and_set_up_as_told(server):
    class Own(requests.Session):
        closed = 0

        def close(self):
            Own.closed += 1
            super().close()

    def initialize(session):
        session.headers["X-Initialized"] = "1"
        return session

    def authenticate(session):
        session.auth = ("me", "secret")
        return session

    jobs = pool.Pool.from_urls(
        [server.url] * 4, initializer=initialize, auth_generator=authenticate, num_processes=2, session=Own
    )
    jobs.join_all()

    assert server.header("X-Initialized") == ["1"] * 4
    assert all(header.startswith("Basic ") for header in server.header("Authorization"))
    assert Own.closed == 2


def test_no_more_threads_than_jobs_are_started(server):
    made = []

    def initialize(session):
        made.append(session)
        return session

    pool.Pool.from_urls([server.url] * 2, num_processes=50, initializer=initialize).join_all()

    assert len(made) == 2


def test_a_pool_has_one_thread_at_least():
    with pytest.raises(ValueError, match="at least be 1"):
        pool.Pool(queue.Queue(), num_processes=0)


def test_a_pool_without_jobs_is_done_at_once():
    jobs = pool.Pool(queue.Queue())
    jobs.join_all()

    assert list(jobs.responses()) == []


def test_jobs_carry_the_request_and_trace_of_whoever_submits_them(instrument, telemetry, server):
    instrument()
    Context.new("abc")

    with telemetry.tracer.start_as_current_span("caller") as caller:
        threaded.map([{"method": "GET", "url": server.url}] * 5, num_processes=3)

    assert {header.partition("-")[2] for header in server.header("X-Request-Id")} == {"abc"}
    assert {span.parent.span_id for span in telemetry.spans[:5]} == {caller.get_span_context().span_id}


def test_each_job_of_a_job_queue_has_the_context_that_it_was_put_in(server):
    jobs = threaded.JobQueue()
    for request_id in ("one", "two", "three"):
        Context.new(request_id)
        jobs.put({"method": "GET", "url": f"{server.url}/{request_id}"})
    Context.new("later")

    pool.Pool(jobs, num_processes=1).join_all()

    assert [request.headers["X-Request-Id"].rpartition("-")[2] for request in server.received] == [
        "one",
        "two",
        "three",
    ]


def test_what_a_job_sets_reaches_neither_the_next_job_nor_the_caller(server):
    class Leaking(requests.Session):
        def request(self, *args, **kwargs):
            seen.append(Context.request_id)
            Context.request_id = "leaked"
            return super().request(*args, **kwargs)

    seen = []
    Context.new("abc")

    pool.Pool.from_urls([server.url] * 3, num_processes=1, session=Leaking).join_all()

    assert seen == ["abc"] * 3
    assert Context.request_id == "abc"


def test_progress_tells_of_every_job(server, unused_port):
    told = []
    urls = [server.url, f"http://127.0.0.1:{unused_port}/", server.url]

    pool.Pool.from_urls(urls, num_processes=1, progress=lambda *numbers: told.append(numbers)).join_all()

    assert told == [(1, 0, 3), (1, 1, 3), (2, 1, 3)]


def test_progress_that_raises_stops_nothing(server, caplog):
    def broken(*_):
        raise ZeroDivisionError

    jobs = pool.Pool.from_urls([server.url] * 3, progress=broken)
    jobs.join_all()

    assert len(list(jobs.responses())) == 3
    assert "ZeroDivisionError" in caplog.text


def test_progress_can_draw_a_bar(server, capsys):
    pool.Pool.from_urls([server.url] * 3, progress=threaded.tqdm_progress(desc="fetching")).join_all()

    assert "fetching: 100%" in capsys.readouterr().err


def test_ctrl_c_ends_promptly_and_begins_no_further_job(server):
    release = threading.Event()
    url = server.answer("/", Answer(before=lambda: release.wait(30)))
    program = f"""
        import os, signal, threading
        from hopline.requests.threaded import pool
        jobs = pool.Pool.from_urls(["{url}"] * 10, num_processes=2)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            jobs.join_all()
        except KeyboardInterrupt:
            print("interrupted")
        """

    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=False
    )
    release.set()

    assert finished.stdout == "interrupted\n"
    assert len(server.received) == 2


# As the manual of requests-toolbelt has them, and what they print there. The package is the one thing that differs.
TOOLBELT_PROGRAMS = {
    "map": (
        """
        from hopline.requests import configure, threaded

        urls_to_get = [{{"url": f"{url}/{{n}}", "method": "GET"}} for n in range(3)]
        responses, errors = threaded.map(urls_to_get, num_processes=10)
        print(sorted((r.request_kwargs["url"], r.status_code, r.json()) for r in responses), list(errors))
        """,
        "[('{url}/0', 200, {{}}), ('{url}/1', 200, {{}}), ('{url}/2', 200, {{}})] []",
    ),
    "urls": (
        """
        from hopline.requests.threaded import pool

        urls = [f"{url}/{{n}}" for n in range(2)]
        p = pool.Pool.from_urls(urls)
        p.join_all()
        for response in sorted(p.responses(), key=lambda r: r.url):
            print("GET {{}}. Returned {{}}.".format(response.request_kwargs["url"], response.status_code))
        """,
        "GET {url}/0. Returned 200.\nGET {url}/1. Returned 200.",
    ),
    "queue": (
        """
        import queue
        from hopline.requests.threaded import pool

        jobs = queue.Queue()
        for n in range(3):
            jobs.put({{"method": "POST", "url": "{url}", "data": str(n)}})
        p = pool.Pool(jobs)
        p.join_all()
        jobs.join()
        print(sorted(response.request.body for response in p.responses()), p.get_response(), p.get_exception())
        """,
        "['0', '1', '2'] None None",
    ),
    "retry": (
        """
        from hopline.requests.threaded import pool

        p = pool.Pool.from_urls(["http://127.0.0.1:{unused}/", "{url}"])
        p.join_all()
        errors = list(p.exceptions())
        print([(e.request_kwargs["url"], type(e.exception).__name__, e.request.url) for e in errors])
        new_pool = pool.Pool.from_exceptions(errors, num_processes=1)
        new_pool.join_all()
        print(len(list(p.responses())), len(list(new_pool.responses())), len(list(new_pool.exceptions())))
        """,
        "[('http://127.0.0.1:{unused}/', 'ConnectionError', 'http://127.0.0.1:{unused}/')]\n1 0 1",
    ),
    "session": (
        """
        import requests
        from hopline.requests import configure, threaded

        class Own(requests.Session):
            pass

        def initialize_session(session):
            print(type(session).__name__)
            session.headers["X-Seen"] = "by initializer"
            return session

        def authenticate(session):
            session.auth = ("me", "secret")
            return session

        pool = threaded.pool.Pool.from_urls(
            ["{url}"], {{"method": "PUT"}}, session=Own, num_processes=1,
            initializer=initialize_session, auth_generator=authenticate,
        )
        pool.join_all()
        (response,) = pool.responses()
        request = response.request
        print(request.method, request.headers["X-Seen"], request.headers["Authorization"])
        print(isinstance(response, threaded.pool.ThreadResponse), type(response.response).__name__)
        """,
        "Own\nPUT by initializer Basic bWU6c2VjcmV0\nTrue Response",
    ),
}


@pytest.mark.parametrize("program", TOOLBELT_PROGRAMS)
def test_a_program_for_requests_toolbelt_runs_with_only_the_import_changed(server, unused_port, capsys, program):
    source, printed = TOOLBELT_PROGRAMS[program]
    for path in ("/0", "/1", "/2"):
        server.answer(path, Answer(body=b"{}"))

    exec(textwrap.dedent(source).format(url=server.url, unused=unused_port), {})

    assert capsys.readouterr().out.strip() == printed.format(url=server.url, unused=unused_port)


@pytest.mark.parametrize(
    "path",
    [
        "map",
        *("pool.Pool", "pool.Pool.from_urls", "pool.Pool.from_exceptions", "pool.Pool.join_all"),
        *("pool.Pool.responses", "pool.Pool.exceptions", "pool.Pool.get_response", "pool.Pool.get_exception"),
        *("pool.ThreadResponse", "pool.ThreadException"),
    ],
)
def test_whatever_requests_toolbelt_takes_is_taken_here(path):
    theirs, ours = (inspect.signature(attrgetter(path)(package)).parameters for package in (toolbelt, threaded))

    assert [(each.name, each.kind) for each in ours.values()][: len(theirs)] == [
        (each.name, each.kind) for each in theirs.values()
    ]


def test_an_initializer_may_set_up_the_session_and_return_nothing(server):
    responses, _ = threaded.map(
        [{"method": "GET", "url": server.url}] * 3,
        initializer=lambda session: session.headers.update({"X-Initialized": "1"}),
    )

    assert len(list(responses)) == 3
    assert server.header("X-Initialized") == ["1"] * 3


@pytest.mark.parametrize("error", [SystemExit, gevent.Timeout, MemoryError])
def test_nothing_that_a_job_raises_stops_the_others(server, error):
    def raising(*_, **__):
        raise error

    responses, exceptions = threaded.map(
        [
            {"method": "GET", "url": server.url, "hooks": {"response": raising}},
            {"method": "GET", "url": server.url},
        ],
        num_processes=1,
    )

    assert [type(each.exception) for each in exceptions] == [error]
    assert [response.status_code for response in responses] == [200]


def test_map_takes_whatever_yields_dictionaries(server):
    responses, _ = threaded.map({"method": "GET", "url": f"{server.url}/{n}"} for n in range(3))

    assert len(list(responses)) == 3


def test_each_job_has_the_extras_and_the_deadline_of_whoever_submits_it(server):
    seen = []
    Context.new("abc")
    Context.set_relative_deadline(60_000)

    with Context.logging(user="ada"):
        jobs = pool.Pool.from_urls(
            [server.url],
            {"hooks": {"response": lambda *_, **__: seen.append((Context.logging.extras["user"], Context.deadline))}},
        )
    jobs.join_all()

    assert seen == [("ada", Context.deadline)]


def test_the_connections_of_a_pool_are_closed(server):
    pool.Pool.from_urls([server.url] * 4, num_processes=2).join_all()

    wait_until(lambda: not server.open_connections, "the connections are closed")


def test_a_pool_is_told_of_in_statsd_without_global_instrumentation(server, run_python):
    with StatsdListener() as statsd:
        run_python(
            f"""
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            from hopline.requests.threaded import pool
            from hopline_statsd import StatsdConfig, StatsdSpanProcessor
            processor = StatsdSpanProcessor(StatsdConfig(endpoint="{statsd.endpoint}", prefix="p"))
            trace.set_tracer_provider(TracerProvider())
            trace.get_tracer_provider().add_span_processor(processor)
            pool.Pool.from_urls(["{server.url}"] * 3, num_processes=1).join_all()
            processor.force_flush()
            """
        )

        assert statsd.wait_for(4)
        names = [line.split(":")[0] for line in statsd.lines]
        assert names.count("p.requests.127-0-0-1.GET.200") == 3


def test_a_pool_works_in_greenlets(server, run_python):
    output = run_python(
        f"""
        from gevent import monkey
        monkey.patch_all()
        from hopline import Context
        from hopline.requests import configure, threaded
        Context.new("abc")
        responses, exceptions = threaded.map([{{"method": "GET", "url": "{server.url}"}}] * 5, num_processes=3)
        print(len(list(responses)), len(list(exceptions)))
        """
    )

    assert output == "5 0\n"
    assert {header.partition("-")[2] for header in server.header("X-Request-Id")} == {"abc"}


def test_a_bar_counts_what_failed(server, unused_port, capsys):
    urls = [server.url, f"http://127.0.0.1:{unused_port}/"]

    pool.Pool.from_urls(urls, num_processes=1, progress=threaded.tqdm_progress()).join_all()

    assert "2/2" in capsys.readouterr().err.rpartition("\r")[2]


def test_a_bar_without_tqdm_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)

    with pytest.raises(ImportError, match="tqdm"):
        threaded.tqdm_progress()


def signing(session=None):
    """A session that is configured as its maker wants it."""

    def sign(request):
        request.headers["X-Signature"] = "signed"

    return configure(session or requests.Session(), pre_request=sign)


@pytest.mark.parametrize("how", ["session", "initializer"])
def test_a_session_that_its_maker_has_configured_stays_as_it_is(server, how):
    threaded.map([{"method": "GET", "url": server.url}], **{how: signing})

    assert server.header("X-Signature") == ["signed"]
