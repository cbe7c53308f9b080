"""The page of this floor names everything that a user may call, set or meet."""

from pathlib import Path

import pytest
import typer

from automl_api.app import create_app
from automl_api.cli import app
from automl_api.settings import Settings
from automl_compress.store import JobState

PAGE = (Path(__file__).resolve().parents[2] / "api" / "README.md").read_text()


def commands() -> list[str]:
    names = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    return sorted(names)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_named(command: str) -> None:
    assert f"| `{command}" in PAGE


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_named_with_its_default(field: str) -> None:
    named = Settings.model_fields[field].validation_alias or f"AUTOML_COMPRESS_{field.upper()}"
    (row,) = [line for line in PAGE.splitlines() if f"| `{named}`" in line]

    default = Settings.model_fields[field].default
    shown = row.split("|")[2].strip().strip("`")
    if field == "database_url":
        assert shown == "SQLite in the data directory"
    elif isinstance(default, int | float):
        assert float(shown) == default
    else:
        assert shown == ("none" if default is None else str(default))


@pytest.mark.parametrize("state", JobState)
def test_every_state_of_a_job_is_named(state: JobState) -> None:
    assert f"| `{state}` |" in PAGE


def test_every_endpoint_is_named() -> None:
    operations = {
        f"`{method.upper()} {path}`"
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }

    assert not {each for each in operations if each not in PAGE}
