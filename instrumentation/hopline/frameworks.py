"""Which route and which view answer a request, as web frameworks leave it behind; none of them is imported for it.

Flask and Bottle leave it in the request's ``environ``. Django, Starlette and FastAPI do not, or only in part: patches
note it in the ``environ`` or ``scope`` when they have found the route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, NamedTuple

from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patch

_DJANGO_MATCH = "hopline.django.match"
_STARLETTE_ROUTES = "hopline.starlette.routes"


class View(NamedTuple):
    """What answers a request; each may be unknown."""

    route: str | None
    """The route, for instance ``/items/{id}``, in the framework's own syntax."""
    function: str | None
    """The fully-qualified name of the function or class, or what the framework calls it."""


UNKNOWN = View(None, None)


class Following:
    """The patches of the frameworks that do not leave it behind by themselves; on while anybody follows."""

    def __init__(self) -> None:
        self._followers = 0
        self._changing = lasting_lock()
        self._patches = (
            Patch("django.core.handlers.base", "BaseHandler.resolve_request", _resolve_request),
            Patch("starlette.routing", "Route.handle", _handle_route),
            Patch("starlette.routing", "WebSocketRoute.handle", _handle_route),
            Patch("starlette.routing", "Mount.handle", _handle_route),
        )

    def begin(self) -> None:
        """Follow the frameworks that are or will be imported."""
        with self._changing:
            self._followers += 1
            for patch in self._patches:
                patch.apply()

    def end(self) -> None:
        """Follow no longer; the last one to say so removes the patches."""
        with self._changing:
            self._followers -= 1
            if self._followers == 0:
                for patch in self._patches:
                    patch.remove()


def view_of_environ(environ: Mapping[str, Any]) -> View:
    """The view that a WSGI framework has found for the request; the route begins with ``SCRIPT_NAME``."""
    root = environ.get("SCRIPT_NAME", "")
    if (match := environ.get(_DJANGO_MATCH)) is not None:
        return _django(match, root)
    if (request := environ.get("werkzeug.request")) is not None:
        rule = getattr(request, "url_rule", None)
        return UNKNOWN if rule is None else View(f"{root}{rule.rule}", rule.endpoint)
    if (route := environ.get("bottle.route")) is not None:
        return View(f"{root}{route.rule}", _name_of(route.callback))
    return UNKNOWN


def view_of_scope(scope: Mapping[str, Any], root: str) -> View:
    """The view that an ASGI framework has found for the request.

    Args:
        scope: the request's.
        root: its ``root_path`` when it came in; mounted applications change it.
    """
    if (match := scope.get(_DJANGO_MATCH)) is not None:
        return _django(match, root + "".join(mount.path for mount in scope.get(_STARLETTE_ROUTES, ())))
    path = _starlette_path(scope)
    return UNKNOWN if path is None else View(f"{root}{path}", _name_of(scope.get("endpoint")))


def _starlette_path(scope: Mapping[str, Any]) -> str | None:
    routes = scope.get(_STARLETTE_ROUTES, ())
    # A route of a FastAPI router that is included in another: the whole path is here, and its own part in the route.
    included = scope.get("fastapi", {}).get("effective_route_context")
    if included is not None and included.original_route is scope.get("route"):
        return f"{''.join(mount.path for mount in routes)}{included.path_format}"
    if not routes:
        return None
    *mounts, last = routes
    return f"{''.join(mount.path for mount in mounts)}{last.path_format}"


def _django(match: Any, root: str) -> View:
    route = match.route
    # One that is a regular expression has its own beginning.
    return View(route if route.startswith("^") else f"{root}/{route}", _name_of(match.func))


def _name_of(view: Any) -> str | None:
    while isinstance(view, partial):
        view = view.func
    view = getattr(view, "view_class", view)  # Django's and Flask's class-based views
    name = getattr(view, "__qualname__", None)
    return None if name is None else f"{view.__module__}.{name}"


def _resolve_request(wrapped: Callable[..., Any], handler: Any, args: Any, kwargs: Any) -> Any:
    match = wrapped(*args, **kwargs)
    guard(_note_django, match, *args, **kwargs)
    return match


def _note_django(match: Any, request: Any) -> None:
    raw: MutableMapping[str, Any] = getattr(request, "scope", None) or request.META
    raw[_DJANGO_MATCH] = match


def _handle_route(wrapped: Callable[..., Any], route: Any, args: Any, kwargs: Any) -> Any:
    guard(_note_route, route, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _note_route(route: Any, scope: MutableMapping[str, Any], *_: Any, **__: Any) -> None:
    scope[_STARLETTE_ROUTES] = (*scope.get(_STARLETTE_ROUTES, ()), route)


following = Following()
"""The one set of patches, which the WSGI and the ASGI room share."""
