"""Flask, Django and Bottle behind one dispatcher."""

import bottle
from django.core.wsgi import get_wsgi_application
from flask import Flask
from flask.views import View
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tests.sites import django_site


def make_flask():
    flask = Flask("frameworks_site")

    @flask.get("/items/<int:number>")
    def item(number):
        return f"item {number}"

    @flask.get("/stream")
    def stream():
        return (f"{number}\n" for number in range(3))

    class Shelf(View):
        def dispatch_request(self):
            return "shelf"

    flask.add_url_rule("/shelf", view_func=Shelf.as_view("shelf"))
    return flask


def make_bottle():
    site = bottle.Bottle()

    @site.get("/items/<number:int>")
    def item(number):
        return f"item {number}"

    return site


def make_app():
    django_site.set_up()
    mounts = {"/flask": make_flask(), "/django": get_wsgi_application(), "/bottle": make_bottle()}
    return DispatcherMiddleware(bottle.Bottle(), mounts)
