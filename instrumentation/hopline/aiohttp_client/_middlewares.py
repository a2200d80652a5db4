"""The application's client middlewares, which aiohttp has since 3.12: what they have signed is what is sent.

Our header fields are there before the first of them sees a request. For another attempt they are made anew where the
request next comes by: before a middleware, or before it is sent. They stay as they are where something outside of that
place may have signed them, for that would not sign them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hopline._guard import guard
from hopline.aiohttp_client._exchange import Exchange, exchange_of
from hopline.http.headers import Injected

Take = Callable[..., Any]

# Schemes of Authorization that tell who asks, and sign nothing of the header.
_SCHEMES = frozenset(("basic", "bearer", "digest", "negotiate"))


def steps(handler: Take, middlewares: Sequence[Take]) -> tuple[Take, list[Take]]:
    """The steps of one request, in place of its handler and its middlewares."""
    way = Way()
    return Step(way, handler), [Step(way, middleware) for middleware in middlewares]


class Seen:
    """A request as it is at one moment: where it goes, and the fields of its header that are not ours."""

    __slots__ = ("_fields", "_host")

    def __init__(self, request: Any) -> None:
        self._host = request.url.raw_host
        self._fields = frozenset(field for field in request.headers.items() if type(field[1]) is not Injected)

    def goes_where(self, other: Seen) -> bool:
        """Whether both go to the same host."""
        return bool(self._host == other._host)

    def may_be_signed_since(self, earlier: Seen) -> bool:
        """Whether a field has come that may be a signature."""
        return any(
            name.lower() != "authorization" or value.partition(" ")[0].lower() not in _SCHEMES
            for name, value in self._fields - earlier._fields
        )


class Way:
    """The way of one request.

    Attributes:
        given: the request as the first step gets it.
    """

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given: Seen | None = None


class Step:
    """A step on it: a middleware, or what sends the request.

    Args:
        way: the way.
        take: takes the step.
    """

    __slots__ = ("_is_signed", "_left", "_take", "_way")

    def __init__(self, way: Way, take: Take) -> None:
        self._way = way
        self._take = take
        self._left: Seen | None = None
        self._is_signed = False

    async def __call__(self, request: Any, *following: Take) -> Any:
        """Take it; the request may come again."""
        exchange = guard(self._enter, request)
        if exchange is None:
            return await self._take(request, *following)
        try:
            return await self._take(request, *following)
        except BaseException as error:
            if not following:
                guard(exchange.break_off, error)
            raise
        finally:
            self._left = guard(Seen, request)

    def _enter(self, request: Any) -> Exchange | None:
        exchange = exchange_of(request._traces)
        if exchange is None or exchange.telemetry is None:
            return None
        now, way = Seen(request), self._way
        way.given = way.given or now
        before = self._left or way.given
        # What happens within the step happens again; what has happened outside of it does not.
        self._is_signed = self._is_signed or now.may_be_signed_since(before)
        exchange.prepare(request, keep=self._is_signed and now.goes_where(before))
        return exchange
