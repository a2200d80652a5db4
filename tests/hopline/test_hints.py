import asyncio
import gc

import pytest

from hopline import expected_status, url_template
from hopline.hints import current_hints


def template_here():
    hints = current_hints()
    return None if hints is None else hints.template


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert current_hints() is None


def test_a_decorated_function_runs_with_them():
    @url_template("/users/{id}")
    def fetch():
        return template_here()

    assert [fetch(), fetch()] == ["/users/{id}"] * 2


def test_a_decorated_coroutine_function_runs_with_them_to_its_end():
    @url_template("/users/{id}")
    async def fetch():
        await asyncio.sleep(0)
        return template_here()

    assert asyncio.run(fetch()) == "/users/{id}"


def test_a_decorated_generator_runs_with_them_and_its_caller_does_not():
    @url_template("/users/{id}")
    def pages():
        yield template_here()
        yield template_here()

    assert [(inside, template_here()) for inside in pages()] == [("/users/{id}", None)] * 2


def test_one_may_be_entered_again_before_it_is_left():
    users = url_template("/users/{id}")

    with users, url_template("/teams/{id}"), users:
        inside = template_here()

    assert inside == "/users/{id}"


def test_what_a_block_leaves_behind_in_another_context_does_not_keep_what_was_around_it():
    with url_template("/users/{id}"):
        around = current_hints()
        with url_template("/teams/{id}"):
            left_behind = current_hints()

    assert around not in gc.get_referents(left_behind)


def test_one_of_another_kind_stays_what_it_was():
    with url_template("/users/{id}"), expected_status(404):
        hints = current_hints()

    assert (hints.template, hints.expected) == ("/users/{id}", {404})


def test_a_status_may_be_text():
    with expected_status("404"):
        assert current_hints().expected == {404}


def test_a_status_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="none"):
        expected_status("none")
