"""Has every logger of a process, the server's too, write lines that show what each record has."""

import logging.config

SERVERS = (
    "gunicorn.error",
    "gunicorn.access",
    "hypercorn.error",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
    "waitress",
    "werkzeug",
)


def configure() -> None:
    """Configure logging, as an application does: name, request id, trace id and message, with bars in between."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(name)s|%(request_id)s|%(otelTraceID)s|%(message)s"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": "INFO", "handlers": ["out"]},
            "loggers": {name: {"level": "INFO", "handlers": [], "propagate": True} for name in SERVERS},
        }
    )


def ids_of(name: str, output: str) -> list[str]:
    """The request ids on the lines that a logger has written to `output`."""
    return [line.split("|")[1] for line in output.splitlines() if line.startswith(f"{name}|")]
