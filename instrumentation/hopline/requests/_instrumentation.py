"""The instrumentation of requests, one for the process: what is patched, and which session is told of how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patches
from hopline.http.client import ClientTelemetry
from hopline.http.config import HttpConfig
from hopline.requests._bodies import Streams
from hopline.requests._phases import Phases
from hopline.requests._retries import retry_patches
from hopline.requests._sending import Sending, Setup

if TYPE_CHECKING:
    from requests import Session


class Instrumentation:
    """What is patched in requests and urllib3, and how each session is told of.

    Attributes:
        changing: the lock of whoever changes any of this: threads set up sessions of their own, even while all are
            instrumented.
    """

    def __init__(self) -> None:
        self._for_all: Setup | None = None
        self._for_session: WeakKeyDictionary[Session, Setup] = WeakKeyDictionary()
        self._any_session = False
        self._default: ref[ClientTelemetry] | None = None
        self.changing = lasting_lock()
        self._streams = Streams()
        self._patches = Patches(
            *Sending(self._setup_of, self._streams).patches,
            *retry_patches(),
            *Phases().patches,
            *self._streams.patches,
        )

    def instrument_all(self, telemetry: ClientTelemetry) -> None:
        """Tell of every session that has no setup of its own, of those made earlier too."""
        self._apply()  # which may wait for another thread that imports requests, and needs the lock for that
        with self.changing:
            self._for_all = Setup(telemetry)
            self._redirect_followers(telemetry)
            self._apply()

    def uninstrument_all(self) -> None:
        """Tell of none but the sessions that have a setup of their own."""
        with self.changing:
            before, self._for_all = self._for_all, None
            if before is not None and before.telemetry is not None:
                before.telemetry.close()
                self._redirect_followers(self.default_telemetry())
            if all(setup.telemetry is None for setup in self._for_session.values()):
                self._patches.remove()
                self._streams.end()

    def set_up(self, session: Session, setup: Setup) -> None:
        """Tell of one session in its own way."""
        with self.changing:
            self._for_session[session] = setup
            self._any_session = True
            self._apply()

    def has_setup(self, session: Session) -> bool:
        """Whether it is told of a session in its own way, or left alone."""
        return session in self._for_session

    def default_telemetry(self) -> ClientTelemetry:
        """What sessions are told to that are set up without a word about it: as all are, or else as all would be."""
        if self._for_all is not None and self._for_all.telemetry is not None:
            return self._for_all.telemetry
        # Shared by those sessions, which may be set up in several threads at once, or each would have metrics of its
        # own by the same names; and read anew when there has been none for a while.
        with self.changing:
            telemetry = None if self._default is None else self._default()
            if telemetry is None:
                telemetry = make_telemetry({})
                self._default = ref(telemetry)
        return telemetry

    def _redirect_followers(self, telemetry: ClientTelemetry) -> None:
        for session, setup in list(self._for_session.items()):
            if setup.follows:
                self._for_session[session] = replace(setup, telemetry=telemetry)

    def _setup_of(self, session: Session) -> Setup | None:
        if self._any_session:
            return guard(self._for_session.get, session) or self._for_all
        return self._for_all

    def _apply(self) -> None:
        self._patches.apply()
        self._streams.begin()


def make_telemetry(arguments: Mapping[str, Any]) -> ClientTelemetry:
    """Make what sessions are told to.

    Args:
        arguments: the keyword arguments of ``instrument()``.

    Raises:
        ValueError: if one cannot be used.
    """
    config = HttpConfig.of_client("REQUESTS", arguments)
    return ClientTelemetry(
        "hopline.requests", config, arguments.get("tracer_provider"), arguments.get("meter_provider")
    )


instrumentation = Instrumentation()
