"""Turns what holds for a block into what holds while a function's body runs, whatever kind of function it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
Hold = Callable[[], AbstractContextManager[Any]]


def during(function: F, call: Hold, body: Hold | None = None) -> F:
    """Make ``function`` run inside of a context manager.

    Args:
        function: a function, a coroutine function, a generator function or an asynchronous generator function.
        call: makes the context manager for one call.
        body: makes the one for one generator, entered whenever its body runs on and left whenever it yields, so
            that nothing of it reaches the code that iterates.

    Returns:
        The function, wrapped.

    Raises:
        TypeError: if ``function`` is a generator function and there is no ``body``.
    """
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        if body is None:
            raise TypeError(f"{function!r} is a generator function, which cannot be decorated with this")
        wrapper = _async_generator(function, body) if isasyncgenfunction(function) else _generator(function, body)
    elif iscoroutinefunction(function):
        wrapper = _coroutine(function, call)
    else:
        wrapper = _plain(function, call)
    return cast(F, wraps(function)(wrapper))


def _plain(function: Callable[..., Any], call: Hold) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with call():
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: Callable[..., Any], call: Hold) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with call():
            return await function(*args, **kwargs)

    return wrapper


def _generator(function: Callable[..., Any], body: Hold) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator, held = function(*args, **kwargs), body()
        resume, value = generator.send, None
        while True:
            try:
                with held:
                    yielded = resume(value)
            except StopIteration as stop:
                return stop.value
            try:
                resume, value = generator.send, (yield yielded)
            except GeneratorExit:
                with held:
                    generator.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs into the body, which may handle it
                resume, value = generator.throw, error

    return wrapper


def _async_generator(function: Callable[..., Any], body: Hold) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator, held = function(*args, **kwargs), body()
        resume, value = generator.asend, None
        while True:
            try:
                with held:
                    yielded = await resume(value)
            except StopAsyncIteration:
                return
            try:
                resume, value = generator.asend, (yield yielded)
            except GeneratorExit:
                with held:
                    await generator.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs into the body, which may handle it
                resume, value = generator.athrow, error

    return wrapper
