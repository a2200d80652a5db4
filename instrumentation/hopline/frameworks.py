"""Which route and which view answer a request, as web frameworks find them; none of them is imported for it.

Bottle leaves it in the request's ``environ``. Django, Flask, Starlette and FastAPI do not, or only in part, or take it
away too early: patches note it when they have found the route.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patch, Patches

NOTES = "hopline.frameworks"
"""Where a request's :class:`Notes` are kept, in its ``environ`` or ``scope``."""


class View(NamedTuple):
    """What answers a request; each may be unknown."""

    route: str | None
    """The route, for instance ``/items/{id}``, in the framework's own syntax."""
    function: str | None
    """The fully-qualified name of the function or class, or what the framework calls it."""


UNKNOWN = View(None, None)


class Notes:
    """What the frameworks have found for one request. The copies that a middleware makes of its ``scope`` share it.

    Attributes:
        root: what the path began with, as the framework saw it: its ``SCRIPT_NAME`` or ``root_path``.
        rule: Flask's rule.
        match: Django's match.
        routes: Starlette's and FastAPI's mounts, and the route within them, each with the ``root_path`` it has.
    """

    __slots__ = ("match", "root", "routes", "rule")

    def __init__(self) -> None:
        self.root: str | None = None
        self.rule: Any = None
        self.match: Any = None
        self.routes: tuple[tuple[str, Any], ...] = ()

    def __deepcopy__(self, _memo: object) -> Notes:
        """Be shared by deep copies of the ``scope``, too."""
        return self


_NOTHING = Notes()


class Following:
    """The patches of the frameworks that do not leave it behind by themselves; on while anybody follows."""

    def __init__(self) -> None:
        self._followers = 0
        self._changing = lasting_lock()
        self._patches = Patches(
            Patch("django.core.handlers.base", "BaseHandler.resolve_request", _resolve_request),
            Patch("flask.app", "Flask.full_dispatch_request", _dispatch_request),
            Patch("fastapi.routing", "APIRoute.handle", _handle_route),
            Patch("starlette.routing", "Route.handle", _handle_route),
            Patch("starlette.routing", "WebSocketRoute.handle", _handle_route),
            Patch("starlette.routing", "Mount.handle", _handle_route),
        )

    def begin(self) -> None:
        """Follow the frameworks that are or will be imported."""
        with self._changing:
            self._followers += 1
            self._patches.apply()

    def end(self) -> None:
        """Follow no longer; the last one to say so removes the patches."""
        with self._changing:
            self._followers -= 1
            if self._followers == 0:
                self._patches.remove()


def view_of_environ(environ: Mapping[str, Any]) -> View:
    """The view that a WSGI framework has found for the request; the route begins with ``SCRIPT_NAME``."""
    notes = environ.get(NOTES, _NOTHING)
    if notes.match is not None:
        return _django(notes.match, notes.root)
    if notes.rule is not None:
        return View(f"{notes.root}{notes.rule.rule}", notes.rule.endpoint)
    if (route := environ.get("bottle.route")) is not None:
        return View(f"{environ.get('SCRIPT_NAME', '')}{route.rule}", name_of(route.callback))
    return UNKNOWN


def view_of_scope(scope: Mapping[str, Any], root: str) -> View:
    """The view that an ASGI framework has found for the request.

    Args:
        scope: the request's.
        root: its ``root_path`` when it came in; a middleware that passes a copy on may have given that another one.
    """
    notes = scope.get(NOTES, _NOTHING)
    if notes.root and f"{scope['path']}/".startswith(f"{notes.root}/"):
        root = notes.root
    if notes.match is not None:
        return _django(notes.match, root + "".join(mount.path for _, mount in notes.routes))
    if not notes.routes:
        return UNKNOWN
    *mounts, last = (route for _, route in notes.routes)
    endpoint = getattr(last, "endpoint", None) or getattr(last, "app", None)
    return View(f"{root}{''.join(mount.path for mount in mounts)}{last.path_format}", name_of(endpoint))


def _django(match: Any, root: str) -> View:
    route = match.route
    # One that is a regular expression has its own beginning.
    return View(route if route.startswith("^") else f"{root}/{route}", name_of(match.func))


def name_of(view: Any) -> str:
    """The fully-qualified name of what answers a request: a function, or a class."""
    while isinstance(view, partial):
        view = view.func
    view = getattr(view, "view_class", view)  # Django's and Flask's class-based views
    named = view if hasattr(view, "__qualname__") else type(view)
    return f"{named.__module__}.{named.__qualname__}"


def _resolve_request(wrapped: Callable[..., Any], handler: Any, args: Any, kwargs: Any) -> Any:
    match = wrapped(*args, **kwargs)
    guard(_note_django, match, *args, **kwargs)
    return match


def _note_django(match: Any, request: Any) -> None:
    scope = getattr(request, "scope", None)
    notes = (request.META if scope is None else scope).get(NOTES)
    if notes is None:
        return
    notes.match = match
    if scope is None:
        notes.root = request.META.get("SCRIPT_NAME", "")
    else:
        _note_root(notes, scope)


def _dispatch_request(wrapped: Callable[..., Any], _app: Any, args: Any, kwargs: Any) -> Any:
    # Before it is dispatched: when the view has raised, or has served a WebSocket, Flask has forgotten the request.
    guard(_note_flask)
    return wrapped(*args, **kwargs)


def _note_flask() -> None:
    request = sys.modules["flask"].request._get_current_object()  # not by its proxy, attribute for attribute
    environ = request.environ
    notes = environ.get(NOTES)
    if notes is not None:
        notes.rule = request.url_rule
        notes.root = environ.get("SCRIPT_NAME", "")


def _handle_route(wrapped: Callable[..., Any], route: Any, args: Any, kwargs: Any) -> Any:
    guard(_note_route, route, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _note_route(route: Any, scope: Mapping[str, Any], *_: Any, **__: Any) -> None:
    notes = scope.get(NOTES)
    if notes is None:
        return
    # A route of a FastAPI router that is included in another has its own part of the path; the whole is here.
    included = scope.get("fastapi", {}).get("effective_route_context")
    found = route if included is None or included.original_route is not route else included
    root = scope.get("root_path") or ""
    around = [(outer_root, outer) for outer_root, outer in notes.routes if _is_around(outer_root, outer, root, route)]
    notes.routes = (*around, (root, found))
    _note_root(notes, scope)


def _is_around(outer_root: str, outer: Any, root: str, route: Any) -> bool:
    """Whether ``outer`` is a mount around ``route``, and not what another call of the application has found.

    A middleware may call the application again, for another path perhaps; FastAPI's method, as a rule, calls
    Starlette's for the same route.
    """
    if hasattr(outer, "endpoint") or not f"{root}/".startswith(f"{outer_root}/"):
        return False
    # A mount, unless it is of no path, has a longer root_path than what is around it.
    return root != outer_root or hasattr(route, "endpoint") or not route.path


def _note_root(notes: Notes, scope: Mapping[str, Any]) -> None:
    if notes.root is None:
        # Starlette's mounts change the root_path, and keep what it was.
        notes.root = scope.get("app_root_path", scope.get("root_path")) or ""


following = Following()
"""The one set of patches, which the WSGI and the ASGI room share."""
