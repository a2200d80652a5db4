"""What travels in the header of a task message, beside what Celery puts there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime
from math import isfinite
from time import time
from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import Getter

from hopline._guard import guard
from hopline.propagators import RequestIdPropagator
from hopline.request_id import HEADER

SENT_AT = "hopline_sent_at"
"""When the message was sent, in seconds since the epoch; on every message that we have sent, and on no other."""

_ids = RequestIdPropagator()
_ID = HEADER.lower()


class HeaderGetter(Getter[Mapping[str, Any]]):
    """Reads the header of a task message for a propagator."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """The values of ``key``, or None; what is no text does not count."""
        value = carrier.get(key)
        values = value if isinstance(value, (list, tuple)) else (value,)
        return [each for each in values if isinstance(each, str)] or None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        """The names in the header."""
        return list(carrier)


def put_into(headers: MutableMapping[str, Any], context: Context) -> None:
    """Put what is propagated, and the time, into the header of a message that is about to be sent.

    A field that the application has set stays. One that Celery has copied from an earlier message, for a retry, does
    not: it is refreshed.

    Args:
        headers: the message's, changed in place.
        context: the context to send.
    """
    propagator = get_global_textmap()
    carrier: dict[str, str] = {}
    guard(propagator.inject, carrier, context)
    if HEADER not in carrier:
        _ids.inject(carrier, context)
    if SENT_AT in headers:
        _drop(headers, {field.lower() for field in (*propagator.fields, HEADER)})
    present = {name.lower() for name in headers}
    headers.update({name: value for name, value in carrier.items() if name.lower() not in present})
    headers[SENT_AT] = round(time(), 6)


def request_id_in(headers: Mapping[str, Any]) -> object:
    """The request id in the header of a message, in whichever case its name is written, or None."""
    return next((value for name, value in headers.items() if name.lower() == _ID), None)


def seconds_in_queue(headers: Mapping[str, Any], until: float) -> float | None:
    """How long a message has waited for a worker, or None if it does not say when it was sent.

    Waiting for the moment that the task is meant for (its ``eta``) is no queueing.

    Args:
        headers: the message's.
        until: when the wait ended, in seconds since the epoch.

    Returns:
        Seconds, 0 or more, even if the sender's clock is ahead.
    """
    sent_at = headers.get(SENT_AT)
    if not isinstance(sent_at, (int, float)) or not isfinite(sent_at):
        return None
    return max(until - max(sent_at, _moment(headers.get("eta"))), 0.0)


def _moment(eta: object) -> float:
    try:
        moment = datetime.fromisoformat(eta) if isinstance(eta, str) else None
    except ValueError:
        return 0.0
    return 0.0 if moment is None or moment.tzinfo is None else moment.timestamp()


def _drop(headers: MutableMapping[str, Any], fields: Collection[str]) -> None:
    for name in [name for name in headers if name.lower() in fields]:
        del headers[name]
