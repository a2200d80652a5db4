"""The words of Celery telemetry: span names and attributes, as OpenTelemetry's other Celery instrumentation has them.

What messaging systems have in common is named by the OpenTelemetry semantic conventions.
"""

from __future__ import annotations

from typing import Any

ACTION = "celery.action"
APPLY_ASYNC = "apply_async"
RUN = "run"
EAGER = "celery.is_eager"
HOSTNAME = "celery.hostname"
RETRIES = "celery.retries"
RETRY_REASON = "celery.retry.reason"
REVOKED_REASON = "celery.revoked.reason"
REVOKED_SIGNAL = "celery.terminated.signal"
STATE = "celery.state"
TASK_NAME = "celery.task_name"

DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
SYSTEM = "messaging.system"

SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REJECTED = "REJECTED"
REVOKED = "REVOKED"

_OPERATION_TYPES = {APPLY_ASYNC: "send", RUN: "process"}


def span_name(action: str, task: str) -> str:
    """``run/<task>`` or ``apply_async/<task>``."""
    return f"{action}/{task}"


def attributes(action: str, task: str, task_id: str | None, destination: object) -> dict[str, Any]:
    """What every span says.

    Args:
        action: :data:`APPLY_ASYNC` or :data:`RUN`.
        task: the task's name.
        task_id: its id.
        destination: its routing key, if known: with most brokers, the queue's name.
    """
    said = {
        ACTION: action,
        TASK_NAME: task,
        SYSTEM: "celery",
        OPERATION_NAME: action,
        OPERATION_TYPE: _OPERATION_TYPES[action],
        MESSAGE_ID: task_id,
        DESTINATION: destination if isinstance(destination, str) else None,
    }
    return {name: value for name, value in said.items() if value}


def text(value: object) -> str:
    """A reason or description, not too long for an attribute."""
    return str(value)[:256]
