"""Which releases of OpenTelemetry's SDK have been read, so that measurements and spans may go its inner ways."""

from __future__ import annotations

import re

# From 1.39.0 on, the last one. Even a patch release may change what is private, as 1.45.2 did: what is newer, or no
# release, is used by its public methods only.
_LAST_READ = (1, 45, 2)


def is_of_sdk(thing: object, name: str) -> bool:
    """Whether the class of ``thing`` is defined in the module ``name`` of the SDK, and of a release that was read."""
    return type(thing).__module__ == name and _is_sdk_read()


def _is_sdk_read() -> bool:
    from opentelemetry.sdk.version import __version__

    release = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", __version__)
    return release is not None and tuple(map(int, release.groups())) <= _LAST_READ
