"""The environment variables that hopline reads, beside OpenTelemetry's own.

``opentelemetry-instrument`` turns each into an option: ``--hopline_request_id_mode=forward``.
"""

OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE = "OTEL_PYTHON_HOPLINE_REQUEST_ID_MODE"
"""``fanout`` (default): an outgoing request carries ``<hop>-<current id>``; ``forward``: the current id as it is."""

OTEL_PYTHON_HOPLINE_TRUST_INCOMING = "OTEL_PYTHON_HOPLINE_TRUST_INCOMING"
"""``true`` (default): a valid incoming request id is kept and a deadline heeded; ``false``: each incoming request
gets a new id and no deadline."""
