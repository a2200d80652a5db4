"""Which of aiohttp's signals are used: all."""

from __future__ import annotations

import aiohttp

from hopline.aiohttp_client import create_trace_config
from hopline.aiohttp_client._trace_config import STEPS

UNUSED: set[str] = set()  # signals that are deliberately not used, each with its reason


def test_every_signal_of_aiohttp_is_used_or_listed_as_unused():
    signals = {name for name in vars(aiohttp.TraceConfig) if name.startswith("on_")}

    assert set(STEPS) == signals - UNUSED


def test_a_trace_config_listens_to_each_signal_once():
    config = create_trace_config()

    assert [name for name in STEPS if len(getattr(config, name)) != 1] == []
