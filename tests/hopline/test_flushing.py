from importlib.util import find_spec
from threading import Event

import pytest

from hopline._flushing import flush


class Provider:
    """Holds something back until it is flushed, which ends when it is let."""

    def __init__(self, error=None):
        self.let = Event()
        self.flushed = Event()
        self._error = error

    def force_flush(self, timeout_millis):
        self.let.wait()
        if self._error is not None:
            raise self._error
        self.flushed.set()


@pytest.fixture
def quick():
    provider = Provider()
    provider.let.set()
    return provider


@pytest.fixture
def stuck():
    provider = Provider()
    yield provider
    provider.let.set()


def test_what_is_held_back_has_been_flushed_when_it_returns(quick):
    flush({"spans": quick}, 60)

    assert quick.flushed.is_set()


def test_one_that_takes_too_long_is_left_behind_with_a_warning_that_names_it(stuck, quick, caplog):
    flush({"spans": stuck, "metrics": quick, "logs": stuck}, 0.5)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "this process ends, and its spans and logs could not be exported within 0.5 seconds: they may be lost",
        )
    ]


def test_one_that_takes_too_long_keeps_none_of_the_others_from_it(stuck, quick):
    flush({"spans": stuck, "logs": quick}, 0.5)

    assert quick.flushed.is_set()


def test_one_that_holds_nothing_back_is_left_alone(caplog):
    flush({"spans": object()}, 60)

    assert caplog.records == []


def test_an_error_is_nobody_else_s(quick, caplog):
    broken = Provider(OSError())
    broken.let.set()

    flush({"spans": broken, "logs": quick}, 60)

    assert quick.flushed.is_set()


def test_one_that_takes_too_long_is_left_behind_where_threads_are_greenlets(run_python):
    said = run_python(
        """
        from gevent import monkey; monkey.patch_all()
        import time
        from hopline._flushing import flush

        class Provider:
            def force_flush(self, timeout_millis):
                time.sleep(3600)

        flush({"spans": Provider()}, 0.1)
        print("left")
        """
    )

    assert said == "left\n"


@pytest.mark.parametrize(
    "patch",
    ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
    ids=["gevent", "eventlet"],
)
def test_its_threads_can_be_waited_for_where_they_are_patched_later(patch, run_python):
    if "eventlet" in patch and find_spec("eventlet") is None:
        pytest.skip("eventlet is not installed: not for this Python")
    said = run_python(
        f"""
        import logging, sys, warnings
        warnings.simplefilter("ignore")  # eventlet says that it is deprecated
        logging.basicConfig(stream=sys.stdout)
        from hopline._flushing import flush
        {patch}

        class Provider:
            def force_flush(self, timeout_millis):
                print("flushed")

        flush({{"spans": Provider()}}, 5)
        """
    )

    assert said == "flushed\n"
