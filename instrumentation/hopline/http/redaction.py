"""``url.full`` without secrets, as the OpenTelemetry semantic conventions ask: credentials and signed-URL keys."""

from __future__ import annotations

import re
from traceback import format_exception
from urllib.parse import unquote

from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE
from opentelemetry.trace import Span

from hopline._errors import message_of
from hopline._guard import guard

REDACTED = "REDACTED"

# The list of the semantic conventions for url.full; they match it case-sensitively.
_SECRET_KEYS = frozenset(
    (
        "AWSAccessKeyId",
        "Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Goog-Signature",
        "sig",
    )
)
# A parameter of one of these names, or of a name that is percent-encoded and so may be one of them. Anyone may send the
# query: what stands before the first % has no %, for with more than one way to divide a name the time to see that no =
# follows grows with the square of its length.
_PARAMETER = re.compile(rf"([?&;])({'|'.join(sorted(_SECRET_KEYS))}|[^=&;#?\s%]*%[^=&;#?\s]*)=([^&;#\s]*)")

_MAX_DESCRIPTION = 256
_LONGEST_READ = 8192  # of a message, which may quote a whole body; no secret in its beginning is longer

_CREDENTIALS = re.compile(r"://([^/?#\s]*)@")
_USERINFO = re.compile(r"([^/?#]*?://)([^/?#]*)@").match


def redact_url(url: str) -> str:
    """Remove what must not be recorded from ``url``; every other byte stays as it is.

    Args:
        url: an absolute URL.

    Returns:
        The URL with ``user:password@`` and the values of the seven signed-URL parameters of the semantic
        conventions replaced by ``REDACTED``.
    """
    userinfo = _USERINFO(url) if "@" in url else None
    if userinfo is not None:
        url = f"{userinfo[1]}{_hidden(userinfo[2])}{url[userinfo.end(2) :]}"
    if "?" in url:
        url = redact_query(url)
    return url


def redact_text(text: str) -> str:
    """Remove the same from every URL that ``text``, such as the message of an exception, quotes."""
    return redact_query(_CREDENTIALS.sub(_without, text))


def description_of(error: BaseException) -> str:
    """What the status of a span says of ``error``: its message without secrets, 256 characters at most."""
    return redact_text(message_of(error)[:_LONGEST_READ])[:_MAX_DESCRIPTION]


def record_exception(span: Span, error: BaseException) -> None:
    """Add the event of ``error`` to ``span``, its message and its traceback without secrets."""
    guard(_record, span, error)  # the SDK asks it for its message, too


def redact_query(text: str) -> str:
    """Replace the values of secret query parameters wherever they stand in ``text``, a URL or a message with one."""
    return _PARAMETER.sub(_redacted, text)


def _record(span: Span, error: BaseException) -> None:
    trace = redact_text("".join(format_exception(error)))
    span.record_exception(error, {EXCEPTION_MESSAGE: redact_text(message_of(error)), EXCEPTION_STACKTRACE: trace})


def _redacted(parameter: re.Match[str]) -> str:
    separator, key, _ = parameter.groups()
    if key in _SECRET_KEYS or unquote(key) in _SECRET_KEYS:
        return f"{separator}{key}={REDACTED}"
    return parameter.group()


def _without(credentials: re.Match[str]) -> str:
    return f"://{_hidden(credentials[1])}@"


def _hidden(credentials: str) -> str:
    return f"{REDACTED}:{REDACTED}" if ":" in credentials else REDACTED
