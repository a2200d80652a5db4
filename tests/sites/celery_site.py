"""A Celery application whose tasks tell which request they think they work for; run by the tests in real workers."""

import os
import signal
import sys
import time

from celery import Celery
from celery.exceptions import Ignore, Reject

from hopline import Context


class Expected(Exception):
    """What a task may raise, and nobody minds."""


def make_app(broker: str, backend: str | None = None, folder: str | None = None) -> Celery:
    """Make the application.

    Args:
        broker: its URL.
        backend: the URL of its results.
        folder: where the messages are, for the filesystem transport.
    """
    app = Celery("site", broker=broker, backend=backend)
    app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, result_expires=60)
    app.conf.worker_log_format = app.conf.worker_task_log_format = "[%(request_id)s] %(message)s"
    folders = {} if folder is None else dict.fromkeys(("control_folder", "data_folder_in", "data_folder_out"), folder)
    app.conf.broker_transport_options = {"polling_interval": 0.02, **folders}
    _add_plain_tasks(app)
    _add_failing_tasks(app)
    _add_ended_tasks(app)
    return app


def _add_plain_tasks(app):
    @app.task(name="site.whoami", shared=False)
    def whoami(*_):
        deadline = Context.deadline
        return [Context.request_id, os.getpid(), None if deadline is None else deadline.timestamp()]

    @app.task(name="site.pushes", shared=False)
    def pushes():
        before = [Context.request_id, dict(Context.logging.extras)]
        Context.logging.push(left="behind")
        Context.request_id = "changed"
        return before

    @app.task(name="site.waits", shared=False)
    def waits(seconds):
        begun = Context.request_id
        time.sleep(seconds)
        return [begun, Context.request_id]

    @app.task(name="site.calls", shared=False, bind=True)
    def calls(self):
        return self.app.tasks["site.whoami"].apply().get(disable_sync_subtasks=False)


def _add_failing_tasks(app):
    @app.task(name="site.fails", shared=False)
    def fails():
        raise RuntimeError("no")

    @app.task(name="site.fails_as_expected", shared=False, throws=(Expected,))
    def fails_as_expected():
        raise Expected

    @app.task(name="site.retries", shared=False, bind=True, max_retries=2)
    def retries(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0, exc=RuntimeError("again"))
        return Context.request_id

    @app.task(name="site.rejects", shared=False)
    def rejects():
        raise Reject("not mine", requeue=False)

    @app.task(name="site.ignores", shared=False)
    def ignores():
        raise Ignore


def _add_ended_tasks(app):
    @app.task(name="site.runs_too_long", shared=False, time_limit=1)
    def runs_too_long():
        time.sleep(60)

    @app.task(name="site.runs_long", shared=False, soft_time_limit=1)
    def runs_long():
        time.sleep(60)

    @app.task(name="site.is_killed", shared=False)
    def is_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(name="site.exits", shared=False)
    def exits():
        sys.exit(3)


if "SITE_BROKER" in os.environ:
    app = make_app(os.environ["SITE_BROKER"], os.environ.get("SITE_BACKEND"), os.environ.get("SITE_FOLDER"))
