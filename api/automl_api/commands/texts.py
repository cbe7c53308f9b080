"""How the texts of options are read; what is wrong ends the command with its usage."""

import json
from typing import Any, cast

import typer


def ratio(text: str, option: str, meaning: str = "what is kept") -> float:
    """Read `50%` or `0.5`; meaning says of what."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise typer.BadParameter(
            f"{option} is {text!r}; give {meaning}, above 0 and at most 100%: 50% or 0.5"
        )
    return value


def shares(texts: list[str] | None, option: str) -> dict[str, float]:
    """Read `NAME=25%` or `NAME=0.25`, what is removed."""
    values: dict[str, float] = {}
    for text in texts or ():
        name, _, told = text.partition("=")
        try:
            value = float(told.removesuffix("%")) / (100 if told.endswith("%") else 1)
        except ValueError:
            value = -1.0
        if not name or not 0 <= value < 1:
            raise typer.BadParameter(
                f"{option} is {text!r}; give NAME=SHARE with what is removed, from 0 to below "
                "100%: conv1=25% or conv1=0.25"
            )
        values[name] = value
    return values


def budgets(told: dict[str, str | None]) -> tuple[dict[str, Any], list[float]]:
    """Read the one budget that was given, and the smaller ratios after its commas.

    Args:
        told: what stands after `--max-...`, by metric.
    """
    names = {metric: metric.removeprefix("size_").removesuffix("_ns") for metric in told}
    flags = {metric: f"--max-{name.replace('_', '-')}" for metric, name in names.items()}
    given = {metric: text for metric, text in told.items() if text is not None}
    if len(given) != 1:
        raise typer.BadParameter(
            f"{len(given)} budgets came; give one of {', '.join(flags.values())}"
        )
    ((metric, text),) = given.items()
    ratios = [ratio(part, flags[metric]) for part in text.split(",")]
    return {"metric": metric, "ratio": ratios[0]}, ratios[1:]


def assignments(texts: list[str] | None, option: str) -> dict[str, Any]:
    """Read `NAME=VALUE` pairs; a value that is JSON is taken as such."""
    values: dict[str, Any] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{option} is {text!r}; give NAME=VALUE")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def json_object(text: str, option: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} is {text!r}; give a JSON object")
    return cast("dict[str, Any]", value)


def tags(texts: list[str] | None, option: str = "--tag") -> dict[str, str]:
    """Read `NAME:VALUE` pairs."""
    values: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition(":")
        if not separator or not name or not value:
            raise typer.BadParameter(f"{option} is {text!r}; give NAME:VALUE, as team:edge")
        values[name] = value
    return values


def numbers(text: str, option: str) -> list[float]:
    """Read `0.49,0.48,0.45`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{option} is {text!r}; give numbers with commas between: 0.49,0.48,0.45"
        ) from None


def whole_numbers(text: str | None, option: str) -> list[int]:
    """Read `2,4,8`; nothing is no number."""
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{option} is {text!r}; give whole numbers with commas between: 2,4,8"
        ) from None


def normalisation(mean: str | None, deviation: str | None) -> dict[str, list[float]] | None:
    """Read the normalisation; None where none was given."""
    if mean is None and deviation is None:
        return None
    if mean is None or deviation is None:
        raise typer.BadParameter("a normalisation has both: give --mean and --std")
    return {"mean": numbers(mean, "--mean"), "std": numbers(deviation, "--std")}
