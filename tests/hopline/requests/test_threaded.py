"""The thread pool: requests-toolbelt's interface, in the context of whoever submits a job."""

from __future__ import annotations

import queue
import subprocess
import sys
import textwrap
import threading

import pytest
import requests

from hopline import Context
from hopline.requests import threaded
from hopline.requests.threaded import pool
from tests.loopback import Answer


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
