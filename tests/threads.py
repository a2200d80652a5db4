"""Functions called in threads."""

from threading import Thread


def in_thread(function, kind=Thread):
    """What `function` returns in a thread."""
    returned = []
    thread = kind(target=lambda: returned.append(function()))
    thread.start()
    thread.join()
    return returned[0]
