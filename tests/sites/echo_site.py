"""A WSGI application that takes gunicorn's socket for itself: it says back what comes, and tells gunicorn so."""

from gunicorn.workers.base_async import ALREADY_HANDLED


def app(environ, start_response):
    connection = environ["gunicorn.socket"]
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
    while (said := connection.recv(100)) != b"bye":
        connection.sendall(said)
    if environ["PATH_INFO"] == "/stop":
        raise StopIteration
    return ALREADY_HANDLED
