"""The environment variables that hopline reads, beside OpenTelemetry's own.

``opentelemetry-instrument`` turns each into an option: ``--hopline_request_id_mode=forward``.
"""

OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE = "OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE"
"""``fanout`` (default): an outgoing request carries ``<hop>-<current id>``; ``forward``: the current id as it is."""

OTEL_PYTHON_HOPLINE_TRUST_INCOMING = "OTEL_PYTHON_HOPLINE_TRUST_INCOMING"
"""``true`` (default): a valid incoming request id is kept and a deadline heeded; ``false``: each incoming request
gets a new id and no deadline."""

OTEL_PYTHON_HOPLINE_PROPAGATE_TRACE = "OTEL_PYTHON_HOPLINE_PROPAGATE_TRACE"
"""The hosts that may receive the trace context: comma-separated patterns; ``*`` (default): all; ``!host`` denies."""

OTEL_PYTHON_HOPLINE_PROPAGATE_BAGGAGE = "OTEL_PYTHON_HOPLINE_PROPAGATE_BAGGAGE"
"""The hosts that may receive baggage, in the same form."""

OTEL_PYTHON_HOPLINE_PROPAGATE_REQUEST_ID = "OTEL_PYTHON_HOPLINE_PROPAGATE_REQUEST_ID"
"""The hosts that may receive the request id, in the same form."""

OTEL_PYTHON_HOPLINE_PROPAGATE_DEADLINE = "OTEL_PYTHON_HOPLINE_PROPAGATE_DEADLINE"
"""The hosts that may receive the deadline, in the same form."""

OTEL_PYTHON_HOPLINE_PROPAGATE_TO_EXCLUDED = "OTEL_PYTHON_HOPLINE_PROPAGATE_TO_EXCLUDED"
"""``true`` (default): requests to excluded URLs, which get no span, still carry trace context and ids."""

OTEL_PYTHON_HOPLINE_URL_TEMPLATES = "OTEL_PYTHON_HOPLINE_URL_TEMPLATES"
"""Rules that name URLs, comma-separated: ``api.example.com/users/{id},*/health``; the first that matches counts."""

OTEL_PYTHON_HOPLINE_BODY_SIZES = "OTEL_PYTHON_HOPLINE_BODY_SIZES"
"""``true``: also record ``http.client.request.body.size`` and ``http.client.response.body.size``; default ``false``."""

OTEL_PYTHON_HOPLINE_TRUST_FORWARDED = "OTEL_PYTHON_HOPLINE_TRUST_FORWARDED"
"""``true``: a server reads the client's address, scheme and host from ``Forwarded`` or ``X-Forwarded-*``, which a proxy
in front of it must then set; ``false`` (default): it reads them from the connection and the ``Host`` field."""
