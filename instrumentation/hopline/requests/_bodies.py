"""Response bodies that are streamed: measured until they are read, closed or dropped, and never wrapped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from hopline._errors import error_type_of
from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patch, Patches
from hopline.http.attributes import Outcome
from hopline.http.body import ABANDONED, CLOSED, CONSUMED, Body
from hopline.http.call import ClientCall
from hopline.requests._progress import Progress, is_read, ongoing, raw_of, received

if TYPE_CHECKING:
    from requests import Response

Wrapped = Callable[..., Any]


class _Streamed(Body):
    """A body that is being streamed.

    Attributes:
        response: refers to the response that it is of.
        received: the bytes so far.
        broken: the type of the error that reading has ended with, if it has.
    """

    __slots__ = ("broken", "received", "response")

    def __init__(self, call: ClientCall, outcome: Outcome, response: Response) -> None:
        super().__init__(call.telemetry.instruments, outcome)
        self.response = ref(response)
        self.received: int = received(call.progress)
        self.broken: str | None = None


class Streams:
    """The bodies that are being streamed, by urllib3's own response, and the patches that see how they end.

    Attributes:
        patches: those that are needed whether anything is streamed or not.
    """

    def __init__(self) -> None:
        self._streamed: dict[ref[Any], _Streamed] = {}
        self.patches = Patches(Patch("urllib3.response", "HTTPResponse._handle_chunk", self._read_chunk))
        # Applied when a body is first streamed: where none ever is, a request costs a fourteenth less (callgrind).
        self._patches = Patches(
            Patch("urllib3.response", "HTTPResponse._fp_read", self._read),
            Patch("urllib3.response", "HTTPResponse._update_chunk_length", self._read_length),
            Patch("urllib3.response", "HTTPResponse.release_conn", self._release),
            Patch("urllib3.response", "HTTPResponse.close", self._release),
        )
        self._is_on = self._are_applied = False
        self._applying = lasting_lock()

    def begin(self) -> None:
        """Measure those that are streamed from now on."""
        self._is_on = True

    def end(self) -> None:
        """Measure none any more."""
        with self._applying:
            self._is_on = self._are_applied = False
            self._streamed.clear()  # how they end is not seen any more
            self._patches.remove()

    def watch(self, call: ClientCall, outcome: Outcome, response: Response) -> None:
        """Measure the body of a response whose call has ended, if urllib3 has it and it is still to be read."""
        raw = response.raw
        if hasattr(raw, "release_conn") and not is_read(raw) and raw.length_remaining != 0:
            if not self._are_applied:
                self._apply()
            self._keep(raw, _Streamed(call, outcome, response))

    def _apply(self) -> None:
        with self._applying:
            if self._is_on and not self._are_applied:
                self._patches.apply()
                self._are_applied = True

    def _keep(self, raw: Any, streamed: _Streamed) -> None:
        with self._applying:
            if self._is_on:
                self._streamed[ref(raw, self._dropped)] = streamed

    def _read(self, wrapped: Wrapped, raw: Any, args: Any, kwargs: Any) -> Any:
        try:
            data = wrapped(*args, **kwargs)
        except BaseException as error:
            guard(self._broken, self._streamed.get(ref(raw)), error)
            raise
        guard(self._count, raw, data)
        return data

    def _read_chunk(self, wrapped: Wrapped, raw: Any, args: Any, kwargs: Any) -> Any:
        data = self._read(wrapped, raw, args, kwargs)
        call = ongoing.get()
        if call is not None:
            guard(_count_chunk, call.progress, raw, data)
        return data

    def _read_length(self, wrapped: Wrapped, raw: Any, args: Any, kwargs: Any) -> Any:
        # A body that breaks off between two chunks is closed before its error is raised: it is not told of until then.
        streamed = self._streamed.pop(ref(raw), None)
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            guard(self._broken, streamed, error)
            raise
        finally:
            if streamed is not None:
                self._keep(raw, streamed)

    def _broken(self, streamed: _Streamed | None, error: BaseException) -> None:
        if streamed is not None:
            streamed.broken = error_type_of(error)

    def _count(self, raw: Any, data: bytes) -> None:
        # urllib3's own count comes too late: it has released the connection by then, and chunks it does not count.
        streamed = self._streamed.get(ref(raw))
        if streamed is not None:
            streamed.received += len(data)

    def _release(self, wrapped: Wrapped, raw: Any, args: Any, kwargs: Any) -> Any:
        if self._streamed:
            guard(self._ended, raw)
        return wrapped(*args, **kwargs)

    def _ended(self, raw: Any) -> None:
        streamed = self._streamed.pop(ref(raw), None)
        if streamed is not None:
            streamed.tell(streamed.received, _ending(raw, streamed))

    def _dropped(self, reference: ref[Any]) -> None:
        # One that is dropped by itself has been closed before; within a cycle of garbage this comes first.
        streamed = self._streamed.pop(reference, None)
        if streamed is not None:
            guard(streamed.tell, streamed.received, ABANDONED)


def _count_chunk(progress: Progress, raw: Any, data: bytes) -> None:
    ours = raw_of(progress)
    # Or it is somebody else's, who uses urllib3 while our call lasts.
    if ours is not None and (ours is raw or ours is raw._original_response):
        progress.chunks += len(data)


def _ending(raw: Any, streamed: _Streamed) -> str:
    error = sys.exc_info()[1]
    # urllib3 gives the connection back while its error is on its way; another one is the application's.
    if error is not None and error_type_of(error).startswith("urllib3."):
        return error_type_of(error)
    if streamed.broken is not None:
        return streamed.broken
    # A reader of chunks that is closed before their end has urllib3 close the response on its way out.
    if is_read(raw) and not isinstance(error, GeneratorExit):
        return CONSUMED
    # Closed while its response is gone: by the garbage collector.
    return CLOSED if streamed.response() is not None else ABANDONED
