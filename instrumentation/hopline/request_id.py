"""What a request id is: how it is made, which ones are accepted, and how it fans out hop by hop.

An id grows to the left: ``<newest hop>-<older hops>-<root>``. The root is the id that the first request came in
with, so one search for it finds the whole fan-out; each hop's part is the id of the client span that sent it.
"""

from __future__ import annotations

import re
from os import urandom
from random import getrandbits

HEADER = "X-Request-Id"
REQUEST_ID = "hopline.request_id"
"""The attribute of spans and log records that is the id."""

MAX_LENGTH = 128

_VALID = re.compile(r"[A-Za-z0-9._:+/=~-]{1,128}")
_HOP = re.compile(r"[0-9a-f]{16}-")
_HOP_LENGTH = 17


def is_valid(request_id: object) -> bool:
    """Whether ``request_id`` may be used: 1 to 128 characters out of ``A-Z a-z 0-9 . _ : + / = ~ -``."""
    return isinstance(request_id, str) and _VALID.fullmatch(request_id) is not None


def new_root() -> str:
    """Make the id of a request that came without one: a random (version 4) UUID, as RFC 9562 has it."""
    # By hand, for 0.9 µs in place of 2.1.
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def hop_of(span_id: int) -> str:
    """Make the part of the hop that a span sends; an empty string for 0, which is no span's id."""
    return "%016x" % span_id if span_id else ""  # noqa: UP031 - two thirds of an f-string's time


def new_hop() -> str:
    """Make a hop's part where there is no span to name it: 16 random hexadecimal digits."""
    return f"{getrandbits(64):016x}"


def fan_out(hop: str, current: str) -> str:
    """Make the id that goes out with one request.

    Args:
        hop: the part of this hop, 16 hexadecimal digits.
        current: the id of the request that is being served.

    Returns:
        ``<hop>-<current>``, at most 128 characters: past that the oldest hops between the newest and the root
        are left out. A root so long that not even one hop fits beside it goes out alone.
    """
    outgoing = f"{hop}-{current}"
    return outgoing if len(outgoing) <= MAX_LENGTH else _shortened(hop, current)


def _shortened(hop: str, current: str) -> str:
    hops = [hop + "-"]
    start = 0
    while (match := _HOP.match(current, start)) is not None:
        hops.append(match.group())
        start = match.end()
    root = current[start:]
    fitting = (MAX_LENGTH - len(root)) // _HOP_LENGTH
    return "".join(hops[: max(fitting, 0)]) + root
