"""What the instrumentors of all server interfaces have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.http.middleware import ServerPatches


class ServerInstrumentor(BaseInstrumentor):
    """Puts a middleware around whatever the servers of one interface serve.

    Attributes:
        patches: the patches of the servers.
    """

    patches: ClassVar[ServerPatches]

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing need be installed: a server is instrumented when it is imported."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        self.patches.apply(kwargs)

    def _uninstrument(self, **kwargs: Any) -> None:
        self.patches.remove()
