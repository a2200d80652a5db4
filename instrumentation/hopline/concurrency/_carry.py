"""How context variables are carried: copied once where work is given away, so that what it sets stays with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from sys import modules
from typing import Any

from opentelemetry import context as otel_context

from hopline._guard import guard
from hopline._state import completed

# Where servers have what runs in their threads, of their own or of an executor. werkzeug's are socketserver's.
_SERVERS = frozenset(
    (
        "cheroot.workers.threadpool",
        "grpc._server",
        "gunicorn.workers.gthread",
        "paste.httpserver",
        "socketserver",
        "twisted._threads._threadworker",
        "waitress.task",
    )
)

# Where servers of asyncio have what serves a WSGI application in a thread of an executor. Their tasks have the main
# thread's variables, and may have begun to tell of the request. Tornado gives the executor the application itself.
_BRIDGES = frozenset(("hopline.wsgi._middleware", "hypercorn.app_wrappers", "tornado.wsgi", "uvicorn.middleware.wsgi"))

# The variables, by name, in which libraries keep what is true of one thread only: how decimal, gmpy2 and numpy count,
# that sniffio finds anyio's or trio's event loop there, which of asgiref's threads it may wait for, and what agents of
# other vendors change in place, whoever else has it: Scout's request, Bugsnag's breadcrumbs, the hub of Sentry's SDK 1.
_OF_ONE_THREAD = frozenset(
    (
        "__scout_trackedrequest",
        "bugsnag-breadcrumbs",
        "bugsnag-client-context",
        "current_async_library_cvar",
        "deadlock_context",
        "decimal_context",
        "gmpy2_context",
        "numpy.ufunc.extobj",
        "sentry_current_hub",
        "thread_sensitive_context",
    )
)
# The same of Sentry's SDK 2, by names that an application may have given to variables of its own.
_SENTRYS = frozenset(("current_scope", "isolation_scope"))


def carried(work: object) -> Context | None:
    """What goes along with ``work``, a function or a thread: a copy of all context variables, or less, or None.

    The threads of a server serve one request after the other, none of which has to do with who starts them. What the
    application has set in the main thread, such as a Flask application context that it leaves pushed, would be one for
    all requests.
    """
    return guard(_carried, work)


def _carried(work: object) -> Context | None:
    context = copy_context()
    module = _module_of(work)
    if not context or module in _SERVERS:
        return None
    return _request_alone() if module in _BRIDGES else _apart(context)


def alone(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """Wraps what gives work away for everybody: it has nothing to give."""
    return _bare().run(wrapped, *args, **kwargs)


def _bare() -> Context:
    """A context with nothing but what is not carried; an agent that carries some of that itself looks for it here."""
    return _context_of({variable: value for variable, value in copy_context().items() if _is_of_one_thread(variable)})


def _module_of(work: object) -> str | None:
    module = getattr(work, "__module__", None)
    if module in ("threading", "gevent.threading"):  # a thread that is of no class of its own
        module = getattr(getattr(work, "_target", None), "__module__", None)
    return module


def _request_alone() -> Context:
    context = Context()
    context.run(otel_context.attach, completed(otel_context.get_current()))
    return context


def _apart(context: Context) -> Context:
    """``context`` without what libraries keep for each thread, which so begins anew, as it does in any thread."""
    if not any(map(_is_of_one_thread, context)):
        return context
    return _context_of({variable: value for variable, value in context.items() if not _is_of_one_thread(variable)})


def _context_of(values: Mapping[ContextVar[Any], Any]) -> Context:
    context = Context()
    context.run(_set_each, values)
    return context


def _set_each(values: Mapping[ContextVar[Any], Any]) -> None:
    for variable, value in values.items():
        variable.set(value)


@lru_cache(maxsize=1024)
def _is_of_one_thread(variable: ContextVar[Any]) -> bool:
    if variable.name == "asgiref.local":
        # From asgiref 3.12 on it keeps threads apart itself; before, Django's connections to its caches are there.
        return not hasattr(modules.get("asgiref.local"), "_Storage")
    if variable.name in _SENTRYS:
        return variable is getattr(modules.get("sentry_sdk.scope"), f"_{variable.name}", None)
    return variable.name in _OF_ONE_THREAD


def run_in(context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run ``function`` in a context that was carried, and with what its thread has for itself.

    That has come from the initializer of a pool, or from an agent that carries by itself what is not carried here.
    """
    own = copy_context()
    if own:
        guard(_add, context, own)
    return context.run(function, *args, **kwargs)


def _add(context: Context, own: Context) -> None:
    added = {
        variable: value
        for variable, value in own.items()
        if _is_of_one_thread(variable) or _is_missing(variable, context)
    }
    context.run(_set_each, added)


def _is_missing(variable: ContextVar[Any], context: Context) -> bool:
    # But for the request and the trace: in the thread is what other work may have left there.
    return variable not in context and variable.name != "current_context" and not variable.name.startswith("hopline_")


def call_in_copy(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """Wraps what is called as ``(function, *args, **kwargs)``: the function runs in a copy of the caller's context."""
    context = carried(args[0]) if args else None
    if context is None:
        return wrapped(*args, **kwargs)
    return wrapped(run_in, context, *args, **kwargs)


def submit_in_copy(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """As :func:`call_in_copy`, where the call may also start threads that will work for others too."""
    context = carried(args[0]) if args else None
    if context is not None:
        args = (run_in, context, *args)
    # Or the thread would keep the context of the first who submitted something.
    return alone(wrapped, instance, args, kwargs)


class InCopies:
    """A function that runs in copies of one context, each call in its own, for calls may be made at the same time."""

    __slots__ = ("_context", "_function")

    def __init__(self, context: Context, function: Callable[..., Any]) -> None:
        self._context = context
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return run_in(self._context.copy(), self._function, *args, **kwargs)


def give(greenlet: Any) -> Any:
    """Give a greenlet that has not run yet what is carried from here, unless it has a context; returns it."""
    context = carried(greenlet) if greenlet.gr_context is None else None
    if context is not None:
        greenlet.gr_context = context
    return greenlet


def give_to_result(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """Wraps what returns a greenlet that has not run yet."""
    return give(wrapped(*args, **kwargs))
