import json
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("eventlet") is None, reason="eventlet is not installed: not for this Python")

PROGRAM = """
import json, warnings
from contextvars import ContextVar

from hopline.concurrency import EventletInstrumentor

warnings.simplefilter("ignore")  # eventlet says that it is deprecated
{early}
EventletInstrumentor().instrument()
import eventlet
import eventlet.greenthread
from eventlet import tpool

variable = ContextVar("variable", default="default")


def seen(_=None):
    return variable.get()


def changed():
    before = variable.get()
    variable.set("changed")
    return before


def told_by(spawn):
    told = []
    spawn(lambda: told.append(seen()))
    while not told:
        eventlet.sleep(0.001)
    return told[0]


def piled():
    pile = eventlet.GreenPile(2)
    pile.spawn(seen)
    return list(pile)[0]


pool = eventlet.GreenPool(2)
ways = {{
    "spawn": lambda: eventlet.spawn(seen).wait(),
    "spawn_n": lambda: told_by(eventlet.spawn_n),
    "spawn_after": lambda: eventlet.spawn_after(0, seen).wait(),
    "spawn_after_local": lambda: eventlet.greenthread.spawn_after_local(0, seen).wait(),
    "GreenPool.spawn": lambda: pool.spawn(seen).wait(),
    "GreenPool.spawn_n": lambda: told_by(pool.spawn_n),
    "GreenPool.imap": lambda: list(pool.imap(seen, [1]))[0],
    "GreenPool.starmap": lambda: list(pool.starmap(seen, [(1,)]))[0],
    "GreenPile": piled,
    "tpool.execute": lambda: tpool.execute(seen),
}}
without = {{name: way() for name, way in ways.items()}}
variable.set("mine")
told = {{
    "without": without,
    "with": {{name: way() for name, way in ways.items()}},
    "set": [eventlet.spawn(changed).wait(), seen()],
}}
EventletInstrumentor().uninstrument()
told["uninstrumented"] = {{name: way() for name, way in ways.items()}}
print(json.dumps(told))
"""

WAYS = [
    "spawn",
    "spawn_n",
    "spawn_after",
    "spawn_after_local",
    "GreenPool.spawn",
    "GreenPool.spawn_n",
    "GreenPool.imap",
    "GreenPool.starmap",
    "GreenPile",
    "tpool.execute",
]


@pytest.fixture(
    scope="module",
    params=["", "import eventlet, eventlet.tpool", "import eventlet; eventlet.monkey_patch()"],
    ids=["imported later", "imported before", "patched before"],
)
def told(request, run_python):
    return json.loads(run_python(PROGRAM.format(early=request.param)))


@pytest.mark.parametrize("way", WAYS)
def test_work_has_the_variables_of_who_spawns_it(way, told):
    assert told["with"][way] == "mine"


def test_work_has_none_where_there_are_none(told):
    assert set(told["without"].values()) == {"default"}


def test_what_work_sets_stays_in_it(told):
    assert told["set"] == ["mine", "mine"]


def test_nothing_is_carried_after_uninstrumenting(told):
    assert set(told["uninstrumented"].values()) == {"default"}
