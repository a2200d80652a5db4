from contextvars import Context

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run each test in an execution context of its own, so that what it sets ends with it."""
    names = pyfuncitem._fixtureinfo.argnames
    Context().run(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    return True
