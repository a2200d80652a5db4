"""Which releases of OpenTelemetry's SDK have been read, so that measurements and spans may go its inner ways."""

from __future__ import annotations

# Even a patch release may change what is private, as 1.42.1 and 1.45.2 did: any other release, older or newer, is used
# by its public methods only. 1.42.0 sets flags of a span's context that no other release sets.
_READ = frozenset(
    (
        "1.39.0",
        "1.39.1",
        "1.40.0",
        "1.41.0",
        "1.41.1",
        "1.42.1",
        "1.43.0",
        "1.44.0",
        "1.45.0",
        "1.45.1",
        "1.45.2",
    )
)


def is_of_sdk(thing: object, name: str) -> bool:
    """Whether the class of ``thing`` is defined in the module ``name`` of the SDK, and of a release that was read."""
    return type(thing).__module__ == name and _is_sdk_read()


def _is_sdk_read() -> bool:
    from opentelemetry.sdk.version import __version__

    return __version__ in _READ
