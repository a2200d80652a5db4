"""Where errors of ours stop: said once for each kind, counted always."""

from __future__ import annotations

import signal

import pytest

from hopline import _guard
from hopline._errors import message_of
from hopline._guard import guard, stopped_errors
from hopline.logging._values import plain, text


def broken(error=ZeroDivisionError):
    raise error


def test_what_a_function_returns_is_passed_on():
    assert guard(divmod, 7, 2) == (3, 1)


def test_an_error_is_stopped():
    assert guard(broken) is None


def test_each_kind_of_error_is_said_once_with_its_traceback(caplog):
    for _ in range(3):
        guard(broken)
    guard(broken, LookupError)

    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "hopline: broken raised ZeroDivisionError",
        "hopline: broken raised LookupError",
    ]
    assert all(record.exc_info for record in caplog.records)


def test_every_error_is_counted():
    for _ in range(3):
        guard(broken)

    assert stopped_errors() == {"broken: ZeroDivisionError": 3}


def test_only_so_many_kinds_are_told_apart(monkeypatch):
    monkeypatch.setattr(_guard, "_MAX_KINDS", 1)

    guard(broken)
    guard(broken, LookupError)
    guard(broken, KeyError)

    assert stopped_errors() == {"broken: ZeroDivisionError": 1, "other": 2}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_error_goes_through(error):
    with pytest.raises(error):
        guard(broken, error)


class TimeIsUp(Exception):
    """What a job with a time limit gets, as Celery's and RQ's do."""


@pytest.fixture
def limited():
    def strike(*_):
        raise TimeIsUp

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("limited")
def test_what_the_handler_of_a_signal_raises_goes_through():
    with pytest.raises(TimeIsUp):
        guard(signal.raise_signal, signal.SIGUSR1)

    assert stopped_errors() == {}


class Slow(Exception):
    """Something whose text takes longer than there is time."""

    def __str__(self):
        signal.raise_signal(signal.SIGUSR1)
        return "slow"


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("show", [text, plain, message_of])
def test_what_the_handler_of_a_signal_raises_while_a_text_is_made_goes_through(show):
    with pytest.raises(TimeIsUp):
        show(Slow())


@pytest.mark.usefixtures("limited")
def test_an_error_of_ours_is_stopped_where_signals_have_handlers():
    assert guard(broken, TimeIsUp) is None


def test_something_without_a_name_is_called_by_its_type(caplog):
    class Hook:
        def __call__(self):
            raise LookupError

    guard(Hook())

    assert "Hook raised LookupError" in caplog.text
