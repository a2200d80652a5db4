"""Which sessions are told of: all of them, single ones, or not this one. Nothing here imports aiohttp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patch, Patches, PropertyPatch
from hopline._weak import alive
from hopline.aiohttp_client._deadline import in_time, refuse
from hopline.deadline import DeadlineExceeded
from hopline.http.client import ClientTelemetry

if TYPE_CHECKING:
    from aiohttp import ClientSession, TraceConfig

    from hopline.aiohttp_client._trace_config import HoplineTraceConfig
    from hopline.aiohttp_client._wire import Wire


class Sessions:
    """How all sessions are told of, and the patches that see each of them make a request.

    None is around ``ClientSession.__init__``: what aiohttp warns of there, such as a deprecated argument, it says of
    the line that calls it, which would be one of ours. A session gets its trace config when it makes a request, or
    before, when somebody asks for its configs.
    """

    def __init__(self) -> None:
        self._for_all: _ForAll | None = None
        self._patches = Patches(
            PropertyPatch("aiohttp.client", "ClientSession.trace_configs", self._trace_configs),
            # Which a request calls before it looks at the configs. `_request` may be somebody else's: a mock, for
            # instance, puts back what was there before us.
            Patch("aiohttp.client", "ClientSession._prepare_headers", self._prepare_headers),
            Patch("aiohttp.client", "ClientSession._request", _request),
        )

    def instrument_all(self, telemetry: ClientTelemetry, others: Sequence[TraceConfig]) -> None:
        """Tell of every session that has no config of ours of its own, of those made earlier too.

        Args:
            telemetry: what they are told to.
            others: trace configs that each of these sessions gets as well; one of ours among them is told to in place
                of ``telemetry``, or each request would be told twice.
        """
        self._for_all = _ForAll(telemetry, others)
        self._patches.apply()

    def uninstrument_all(self) -> None:
        """Tell of none but the sessions that have a config of their own."""
        self._patches.remove()
        if self._for_all is not None:
            self._for_all.end()
        self._for_all = None

    def _trace_configs(self, wrapped: Callable[..., Any], _: None, args: Any, kwargs: Any) -> Any:
        self._reach(args[0])
        return wrapped(*args, **kwargs)

    def _prepare_headers(self, wrapped: Callable[..., Any], session: ClientSession, args: Any, kwargs: Any) -> Any:
        self._reach(session)
        return wrapped(*args, **kwargs)

    def _reach(self, session: ClientSession) -> None:
        if self._for_all is not None:
            guard(self._for_all.reach, session)


def _request(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    # A mock that lets some requests through calls what it has found in the class as a plain function.
    session = args[0] if instance is None and args else instance
    try:
        kwargs = in_time(session, kwargs)
    except DeadlineExceeded as error:
        return refuse(error)
    return wrapped(*args, **kwargs)


# Sessions may come in several threads at once.
_making = lasting_lock()


class _ForAll:
    """What every session gets."""

    def __init__(self, telemetry: ClientTelemetry, others: Sequence[TraceConfig]) -> None:
        self._telemetry = telemetry
        self._others = tuple(others)
        self._config: HoplineTraceConfig | None = None
        # By their ids: sessions of an application's own class may be equal to each other, or have no hash.
        self._sessions: WeakValueDictionary[int, ClientSession] = WeakValueDictionary()

    def reach(self, session: ClientSession) -> None:
        """Have the session among those that are told of, ours last, unless it has a config of ours of its own."""
        configs = session._trace_configs
        # aiohttp takes whatever can be iterated over.
        if type(configs) is not list or not configs or configs[-1] is not self._config:
            self._add(session, list(configs))

    def _add(self, session: ClientSession, configs: Sequence[TraceConfig]) -> None:
        from hopline.aiohttp_client._trace_config import HoplineTraceConfig

        if any(isinstance(config, HoplineTraceConfig) and config is not self._config for config in configs):
            return
        config = self._config or self._made()
        ours = (*self._others, config)
        # A list of its own: the one that the application has given may be shared, or not even be a list.
        session._trace_configs = [*(each for each in configs if each not in ours), *ours]
        self._sessions[id(session)] = session

    def end(self) -> None:
        """Take back what sessions have got; requests that have begun are told to their end."""
        self._telemetry.close()
        if self._config is None:
            return
        ours = (*self._others, self._config)
        for session in alive(self._sessions.valuerefs()):
            session._trace_configs = [config for config in session._trace_configs if config not in ours]
        if self._config.telemetry is self._telemetry:
            self._config.telemetry = None
            _wire().leave(self._config)

    def _made(self) -> HoplineTraceConfig:
        from hopline.aiohttp_client._trace_config import HoplineTraceConfig

        with _making:
            if self._config is None:
                given = (config for config in self._others if isinstance(config, HoplineTraceConfig))
                config = next(given, None) or HoplineTraceConfig(self._telemetry)
                self._others = tuple(each for each in self._others if each is not config)
                for each in (*self._others, config):
                    each.freeze()  # as aiohttp does with those that a session is made with
                _wire().use(config)
                self._config = config
            return self._config


def _wire() -> Wire:
    """The patches inside aiohttp, which exist once it has been imported."""
    from hopline.aiohttp_client._wire import wire

    return wire


def silence(session: ClientSession) -> None:
    """Tell of one session no more, whatever all sessions get: its config of ours is one that tells nothing."""
    from hopline.aiohttp_client._trace_config import HoplineTraceConfig

    silent = HoplineTraceConfig(None)
    silent.freeze()
    others = [config for config in session._trace_configs if not isinstance(config, HoplineTraceConfig)]
    session._trace_configs = [*others, silent]


def config_of_its_own(telemetry: ClientTelemetry) -> HoplineTraceConfig:
    """Make the config of a session that is told of in its own way."""
    from hopline.aiohttp_client._trace_config import HoplineTraceConfig

    config = HoplineTraceConfig(telemetry)
    _wire().use(config)
    return config
