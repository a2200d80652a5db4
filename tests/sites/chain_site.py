"""Three services and a task that call each other; what each one received comes back to whoever asked the first.

None of it says a word about telemetry but its log lines, which show what every record has. Each is run by a process of
its own: `first` and `second` by WSGI servers, the task by a Celery worker, `third` by an ASGI server.
"""

import asyncio
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import requests
from celery import Celery

from tests.sites import log_lines

WAIT = 30
log_lines.configure()
logger = logging.getLogger("chain")

app = Celery("chain", broker=os.environ["CHAIN_REDIS"], backend=os.environ["CHAIN_REDIS"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


def first(environ, start_response):
    """Ask the second service, with requests."""
    logger.info("first")
    answer = requests.get(os.environ["CHAIN_SECOND"], timeout=WAIT)
    return respond(start_response, {"first": received_by(environ), **answer.json()})


def second(environ, start_response):
    """Have a worker run the task, and wait for its result."""
    logger.info("second")
    result = task.delay().get(timeout=WAIT, interval=0.01)
    return respond(start_response, {"second": received_by(environ), **result})


@app.task(name="chain.task", bind=True)
def task(self):
    """Ask the third service, in a thread."""
    logger.info("task")
    with ThreadPoolExecutor() as executor:
        answer = executor.submit(work).result()
    return {"task": {name.lower(): value for name, value in (self.request.headers or {}).items()}, **answer}


def work():
    """What the thread does."""
    logger.info("thread")
    return asyncio.run(ask())


async def ask():
    """Ask the third service, with aiohttp."""
    async with aiohttp.ClientSession() as session, session.get(os.environ["CHAIN_THIRD"]) as response:
        return await response.json()


async def third(scope, receive, send):
    """Answer what was received."""
    if scope["type"] != "http":
        return
    logger.info("third")
    received = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = json.dumps({"third": received}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def received_by(environ):
    """The header fields of a request to a WSGI service, by their lower-case names."""
    return {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}


def respond(start_response, content):
    """Answer with JSON."""
    body = json.dumps(content).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
