"""Every searcher has a page that agrees with the code, and no page leads nowhere."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from automl_agents.catalogue import check_options, complete_recipe, searcher_names
from automl_agents.entries import SEARCHERS
from automl_api.cli import app
from automl_api.commands import texts
from automl_compress.core import StudySpec
from docs.option_tables import option_table, option_texts, with_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "searchers"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
COMING = "(coming)"


def page_of(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def block_of(page: str, language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return block


@pytest.mark.parametrize("name", searcher_names())
def test_options_of_a_page_are_those_of_the_code(name: str) -> None:
    page = page_of(name)

    assert page == with_table(name, page), "run `python -m docs.option_tables`"


@pytest.mark.parametrize("name", searcher_names())
def test_every_option_is_explained_where_it_is_defined(name: str) -> None:
    configuration = SEARCHERS[name].configuration

    assert set(option_texts(configuration)) == set(configuration.__dataclass_fields__)


def test_a_reference_to_another_configuration_is_followed() -> None:
    rows = {line.split("|")[1].strip(" `"): line for line in option_table("nsga2").splitlines()}

    assert "`repair` scales every proposal" in rows["budget_handling"]
    assert "fill places of a generation" in rows["budget_handling"]


def test_a_page_without_a_place_for_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="the page of amc lacks"):
        with_table("amc", "# AMC\n")


@pytest.mark.parametrize("name", searcher_names())
def test_command_and_json_of_a_page_ask_for_the_same_search(name: str) -> None:
    page = page_of(name)
    told: dict[str, Any] = json.loads(block_of(page, "json"))
    words = shlex.split(block_of(page, "").replace("\\\n", " "))
    options = [value for word, value in pairwise(words) if word == "--option"]

    study = StudySpec.from_json({**told, "recipe": complete_recipe(name, told.get("recipe", {}))})

    assert (study.searcher, words[words.index("--searcher") + 1]) == (name, name)
    assert study.effort.evaluations == float(words[words.index("--evaluations") + 1])
    assert texts.assignments(options, "--option") == study.searcher_options
    check_options(name, study.searcher_options)


@pytest.mark.parametrize("name", searcher_names())
def test_a_page_says_which_recipe_is_its_own(name: str) -> None:
    page = page_of(name)

    assert [word for word in SEARCHERS[name].recipe.values() if f"`{word}`" not in page] == []


# `micronet` has one policy, whose cost is its own.
@pytest.mark.parametrize("name", [name for name in searcher_names() if name != "micronet"])
def test_a_page_shows_the_curve_of_its_searcher(name: str) -> None:
    assert f"(../benchmarks/search-{name}.svg)" in page_of(name)


def test_index_has_a_row_for_every_searcher_and_no_other() -> None:
    index = (PAGES / "README.md").read_text()

    rows = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\)", index, re.MULTILINE)

    assert rows == [(name, name) for name in searcher_names()]
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *searcher_names()}


def test_help_names_every_searcher() -> None:
    told = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"})

    assert [name for name in searcher_names() if not re.search(rf"\b{name}\b", told.output)] == []


def pages() -> list[Path]:
    floors = [ROOT / each / "README.md" for each in ("agents", "envs", "api")]
    return [ROOT / "README.md", *floors, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_are_there_or_said_to_be_coming(page: Path) -> None:
    missing = [
        target
        for line in page.read_text().splitlines()
        for target in LINK.findall(line)
        if "://" not in target and COMING not in line and not (page.parent / target).exists()
    ]

    assert missing == []
