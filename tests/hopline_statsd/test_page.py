"""The page of the documentation: its Python runs, its TOML is followed, and it names every setting."""

import re
from pathlib import Path

import pytest

from hopline_statsd import environment_variables
from hopline_statsd.rules_file import parse_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "statsd.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_of_the_page_runs_from_top_to_bottom():
    exec(compile("\n".join(blocks("python")), "docs/statsd.md", "exec"), {})


def test_the_rules_of_the_page_can_be_followed():
    for text in blocks("toml"):
        rules = parse_rules(text, "docs/statsd.md")

        assert {"http.client", "db"} <= {rule.id for rule in rules.spans}


@pytest.mark.parametrize("variable", [name for name in vars(environment_variables) if name.isupper()])
def test_every_setting_is_on_the_page(variable):
    assert f"`{variable}`" in PAGE
