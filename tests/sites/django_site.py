"""Django, as small as it gets: its settings, its routes and its views."""

import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path, re_path
from django.views import View

SECRET_KEY = "none"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
MIDDLEWARE: list[str] = []


def item(request, number):
    return HttpResponse(f"item {number}")


class Shelf(View):
    def get(self, request, name):
        return HttpResponse(f"shelf {name}")


def boom(request):
    raise RuntimeError("boom")


urlpatterns = [
    path("items/<int:number>/", item),
    re_path("^shelves/(?P<name>[a-z]+)$", Shelf.as_view()),
    path("boom", boom),
]


def set_up():
    """Set Django up with this module, unless that has been done."""
    if not settings.configured:
        names = ("SECRET_KEY", "ALLOWED_HOSTS", "MIDDLEWARE")
        settings.configure(ROOT_URLCONF=__name__, **{name: globals()[name] for name in names})
    django.setup()
