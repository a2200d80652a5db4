"""What waits until the application imports something: the room of an instrumentor, until its library is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType

import wrapt

from hopline._patch import apply_again

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "aiohttp-client": ("aiohttp", "hopline.aiohttp_client"),
    "aiohttp-server": ("aiohttp.web_protocol", "hopline.aiohttp_server"),
    "asgi": ("gunicorn", "hypercorn", "uvicorn", "hopline.asgi"),
    "celery": ("celery", "hopline.celery"),
    "requests": ("requests", "hopline.requests"),
    "wsgi": (
        "gevent.pywsgi",
        "gunicorn",
        "hypercorn",
        "paste.httpserver",
        "paste.lint",
        "tornado.wsgi",
        "waitress",
        "werkzeug.serving",
        "wsgiref.handlers",
        "wsgiref.validate",
        "hopline.wsgi",
    ),
}
"""By instrumentor, the modules of which one is imported before there is anything to instrument.

The last one is the instrumentor's own room: the application that imports it finds its instrumentor at work.
"""


def when_imported(modules: tuple[str, ...], do: Callable[[], object]) -> None:
    """Call ``do`` once, after one of ``modules`` has been imported; now, if one has been already.

    Args:
        modules: their names; none of them is imported for it. With none at all it is called now.
        do: must raise nothing: it would fail the import.
    """
    if not modules or any(name in sys.modules for name in modules):
        do()
        return
    waiting = [do]

    def imported(_: ModuleType) -> None:
        try:
            first = waiting.pop()
        except IndexError:  # another of the modules was imported before, perhaps in the middle of this one
            apply_again()
        else:
            first()

    for name in modules:
        wrapt.register_post_import_hook(imported, name)
