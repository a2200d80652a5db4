"""For Celery's prefork pool: one line when it is loaded, one for each task, and no flush before the end."""

import os

from celery import Celery

from hopline_statsd import StatsdClient, StatsdConfig

folder = os.environ["CELERY_FOLDER"]
client = StatsdClient(
    StatsdConfig(endpoint=os.environ["OTEL_EXPORTER_STATSD_ENDPOINT"], prefix="app", flush_interval=600)
)
client.increment("loaded")

app = Celery("app", broker="filesystem://", backend=f"file://{folder}")
app.conf.broker_transport_options = {
    "data_folder_in": folder,
    "data_folder_out": folder,
    "control_folder": f"{folder}/control",
}


@app.task
def work(number: int) -> int:
    client.increment(f"task.{number}")
    return number
