"""URLs without secrets, and otherwise unchanged to the byte."""

from __future__ import annotations

import pytest

from hopline.http.redaction import redact_query, redact_url

KEYS = (
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
)


@pytest.mark.parametrize("key", KEYS)
def test_the_value_of_each_secret_parameter_is_redacted(key):
    assert redact_url(f"https://h/p?a=1&{key}=SECRET&b=2") == f"https://h/p?a=1&{key}=REDACTED&b=2"


@pytest.mark.parametrize("key", KEYS)
def test_a_secret_parameter_is_known_in_percent_encoding_too(key):
    encoded = f"%{ord(key[0]):02x}{key[1:]}"

    assert redact_url(f"https://h/?{encoded}=SECRET") == f"https://h/?{encoded}=REDACTED"


@pytest.mark.parametrize("url", ["https://h/?SIG=1", "https://h/?signature=1", "https://h/?xsig=1", "https://h/sig=1"])
def test_only_these_names_in_their_own_case_are_secret(url):
    assert redact_url(url) == url


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://me:SECRET@h:1/p", "https://REDACTED:REDACTED@h:1/p"),
        ("https://me@h/p", "https://REDACTED@h/p"),
        ("https://:SECRET@h/p", "https://REDACTED:REDACTED@h/p"),
        ("https://a@b:SECRET@h/p", "https://REDACTED:REDACTED@h/p"),
        ("https://me:SECRET@h?q=1", "https://REDACTED:REDACTED@h?q=1"),
    ],
)
def test_credentials_are_redacted(url, redacted):
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    "url",
    [
        "https://h/?q=%20a+b&empty=&=x&&flag#fragment",
        "https://h/me@example.com?to=you@example.com",
        "https://h/?a=1;b=2",
        "not a url @ all?",
        "https://h/?%zz=1",
        "",
    ],
)
def test_every_other_url_is_left_as_it_is(url):
    assert redact_url(url) == url


def test_a_secret_is_redacted_up_to_the_fragment_and_wherever_it_stands_twice():
    assert redact_url("https://h/?sig=1&sig=2#sig=3") == "https://h/?sig=REDACTED&sig=REDACTED#sig=3"


def test_a_message_that_quotes_a_url_is_redacted():
    message = "Max retries exceeded with url: /p?sig=SECRET (Caused by …)"

    assert redact_query(message) == "Max retries exceeded with url: /p?sig=REDACTED (Caused by …)"


def test_a_query_of_a_million_percent_signs_is_seen_through_once():
    query = "?" + "%" * 1_000_000  # to look at it once for each of them would take hours

    assert redact_query(query) == query
