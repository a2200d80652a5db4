from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hopline_statsd import StatsdClient, StatsdConfig, StatsdSpanProcessor
from hopline_statsd.listener import StatsdListener

MakeConfig = Callable[..., StatsdConfig]
MakeProcessor = Callable[..., StatsdSpanProcessor]
MakeClient = Callable[..., StatsdClient]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    from hopline_statsd import config, environment_variables

    config._warn.cache_clear()

    for name in vars(environment_variables):
        if name.isupper():
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def listener() -> Iterator[StatsdListener]:
    with StatsdListener() as started:
        yield started


@pytest.fixture
def make_config(listener: StatsdListener) -> MakeConfig:
    def make(**settings: Any) -> StatsdConfig:
        return StatsdConfig(**{"endpoint": listener.endpoint, "prefix": "my.prefix", **settings})

    return make


@pytest.fixture
def make_processor(make_config: MakeConfig) -> Iterator[MakeProcessor]:
    made: list[StatsdSpanProcessor] = []

    def make(**settings: Any) -> StatsdSpanProcessor:
        made.append(StatsdSpanProcessor(make_config(**settings)))
        return made[-1]

    yield make
    for processor in made:
        processor.shutdown()


@pytest.fixture
def make_client(make_config: MakeConfig) -> Iterator[MakeClient]:
    made: list[StatsdClient] = []

    def make(**settings: Any) -> StatsdClient:
        made.append(StatsdClient(make_config(**settings)))
        return made[-1]

    yield make
    for client in made:
        client.close()
