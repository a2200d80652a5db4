"""What the middlewares and the instrumentors of all server interfaces have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hopline._patch import Patch, Patches, Wrapper
from hopline.frameworks import following
from hopline.http.arguments import ServerArguments, refuse_unknown
from hopline.http.config import HttpConfig
from hopline.http.server import ServerTelemetry

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Telling:
    """Whose telemetry tells of requests: that of one middleware, or of all that an instrumentor has made.

    Attributes:
        telemetry: the telemetry; with None, the middlewares only pass on.
    """

    __slots__ = ("telemetry",)

    def __init__(self, telemetry: ServerTelemetry | None = None) -> None:
        self.telemetry = telemetry


class ServerMiddleware:
    """A middleware of one server interface.

    Args:
        app: the application.
        **arguments: the keyword arguments of the public middleware.

    Raises:
        TypeError: if there is no argument of a name.
        ValueError: if an argument cannot be used.
    """

    __slots__ = ("_app", "_telling")

    interface: ClassVar[str]

    def __init__(self, app: Callable[..., Any], **arguments: Unpack[ServerArguments]) -> None:
        refuse_unknown(type(self).__name__, arguments, ServerArguments)
        self._app = app
        self._telling = Telling(_telemetry_of(self.interface, arguments))
        following.begin()

    @classmethod
    def sharing(cls, telling: Telling, app: Any) -> Any:
        """Wrap ``app``, unless there is none or it is wrapped."""
        if app is None or isinstance(app, cls):
            return app
        middleware = cls.__new__(cls)
        middleware._app = app
        middleware._telling = telling
        return middleware


class ServerPatches:
    """The patches of an instrumentor of servers, and whose telemetry they tell with.

    Args:
        interface: the name of what is served, for instance ``wsgi``.

    Attributes:
        telling: the telemetry, which is there while the patches are applied.
    """

    def __init__(self, interface: str) -> None:
        self.telling = Telling()
        self._interface = interface
        self._patches = Patches()

    def add_around(self, module: str, path: str, wrapper: Wrapper) -> None:
        """Add the patch of something that a server does around the application."""
        self._patches.add(Patch(module, path, wrapper))

    def apply(self, arguments: Mapping[str, Any]) -> None:
        """Tell of what the servers serve from now on.

        Args:
            arguments: the keyword arguments of ``instrument()``.

        Raises:
            ValueError: if an argument cannot be used.
        """
        self.telling.telemetry = _telemetry_of(self._interface, arguments)
        self._patches.apply()

    def remove(self) -> None:
        """Tell no longer; servers that run go on with applications that are only passed on to."""
        self._patches.remove()
        if self.telling.telemetry is not None:
            self.telling.telemetry.instruments.close()
            self.telling.telemetry = None


class MiddlewarePatches(ServerPatches):
    """The patches that put a middleware around whatever application a server serves.

    Args:
        middleware: the middleware.
    """

    def __init__(self, middleware: type[ServerMiddleware]) -> None:
        super().__init__(middleware.interface)
        self._middleware = middleware

    def add(self, module: str, path: str, make: Callable[[Callable[[Any], Any]], Wrapper]) -> None:
        """Add the patch of one server; ``make`` makes its wrapper from the function that wraps an application."""
        self.add_around(module, path, make(self._wrap))

    def apply(self, arguments: Mapping[str, Any]) -> None:
        """Tell of what the servers serve from now on, and of the routes that frameworks find."""
        super().apply(arguments)
        following.begin()

    def remove(self) -> None:
        """Tell no longer."""
        super().remove()
        following.end()

    def _wrap(self, app: Any) -> Any:
        return self._middleware.sharing(self.telling, app)


def _telemetry_of(interface: str, arguments: Mapping[str, Any]) -> ServerTelemetry:
    config = HttpConfig.of_server(interface.upper(), arguments)
    return ServerTelemetry(interface, config, arguments.get("tracer_provider"), arguments.get("meter_provider"))


def argument(position: int, name: str) -> Callable[[Callable[[Any], Any]], Wrapper]:
    """For a function that takes the application as an argument."""

    def make(wrap: Callable[[Any], Any]) -> Wrapper:
        def wrapper(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
            if len(args) > position:
                args = (*args[:position], wrap(args[position]), *args[position + 1 :])
            elif name in kwargs:
                kwargs = {**kwargs, name: wrap(kwargs[name])}
            return wrapped(*args, **kwargs)

        return wrapper

    return make


def used(name: str) -> Callable[[Callable[[Any], Any]], Wrapper]:
    """For a method that uses the application which the attribute ``name`` holds."""

    def make(wrap: Callable[[Any], Any]) -> Wrapper:
        def wrapper(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
            setattr(instance, name, wrap(getattr(instance, name)))
            return wrapped(*args, **kwargs)

        return wrapper

    return make


def loaded(name: str) -> Callable[[Callable[[Any], Any]], Wrapper]:
    """For a method that puts the application into the attribute ``name``."""

    def make(wrap: Callable[[Any], Any]) -> Wrapper:
        def wrapper(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            setattr(instance, name, wrap(getattr(instance, name)))
            return result

        return wrapper

    return make
