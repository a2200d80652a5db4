"""Following frameworks, by instrumentors that come and go."""

from __future__ import annotations

import threading

from starlette.routing import Route

from hopline.frameworks import Following


def test_who_comes_while_the_last_one_leaves_is_followed(monkeypatch):
    following, own = Following(), vars(Route)["handle"]
    following.begin()
    leaving, come, remove = threading.Event(), threading.Event(), following._patches.remove

    def remove_slowly():
        leaving.set()
        come.wait(0.3)  # for the newcomer, should it not wait for this one
        remove()

    def begin():
        leaving.wait(30)
        following.begin()
        come.set()

    monkeypatch.setattr(following._patches, "remove", remove_slowly)
    newcomer = threading.Thread(target=begin)
    newcomer.start()
    following.end()
    newcomer.join(30)
    monkeypatch.undo()
    followed = vars(Route)["handle"]
    following.end()

    assert followed is not own
    assert vars(Route)["handle"] is own
