"""Write the table of options into each searcher's page, from its configuration.

Run it as `python -m docs.option_tables`; a test fails while a page and the code differ.
"""

import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from automl_agents.entries import SEARCHERS
from automl_agents.options import accepted, options_of

PAGES = Path(__file__).parent / "searchers"
BEGIN = "<!-- options, written by `python -m docs.option_tables` -->"
END = "<!-- end of options -->"
ATTRIBUTE = re.compile(r"^(\w+(?:, \w+)*): (.*(?:\n    .*)*)", re.MULTILINE)
ABSENT = re.compile(r"\bNone\b")  # as requests write it: null
REFERENCE = re.compile(r"^see `(\w+)`")


def main() -> None:
    """Write every page anew that is there."""
    for name in SEARCHERS:
        path = PAGES / f"{name}.md"
        if path.exists():
            path.write_text(with_table(name, path.read_text()))


def with_table(name: str, page: str) -> str:
    """Return a searcher's page with its table as the code has it now.

    Raises:
        ValueError: the page has no place for the table.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page of {name} lacks the line {END if begin else BEGIN}")
    return f"{before}{BEGIN}\n\n{option_table(name)}\n\n{END}{after}"


def option_table(name: str) -> str:
    """Return the options of a searcher as a Markdown table, or the sentence that it has none."""
    configuration = SEARCHERS[name].configuration
    names = [each.name for each in fields(configuration)]
    if not names:
        return f"`{name}` has no options."
    columns = {"default": options_of(configuration())}
    if hasattr(configuration, "faithful"):
        columns["faithful"] = options_of(configuration.faithful())
    hints, texts = get_type_hints(configuration), option_texts(configuration)
    rows = [
        [
            f"`{option}`",
            accepted(hints[option]),
            *(_literal(values[option]) for values in columns.values()),
            texts[option],
        ]
        for option in names
    ]
    head = ["option", "takes", *columns, "is"]
    return "\n".join(_row(cells) for cells in [head, ["---"] * len(head), *rows])


def option_texts(configuration: type) -> dict[str, str]:
    """Return what the docstrings of a configuration and its bases say of each field."""
    known = {each.name for each in fields(configuration)}
    texts: dict[str, str] = {}
    for kind in reversed(configuration.__mro__):
        for names, text in ATTRIBUTE.findall(inspect.cleandoc(kind.__doc__ or "")):
            told = {name: _resolved(kind, name, text) for name in names.split(", ")}
            texts |= {name: text for name, text in told.items() if name in known}
    return texts


def _resolved(kind: type, name: str, text: str) -> str:
    """Put what another class says of the field in place of a reference to it."""
    text = ABSENT.sub("`null`", " ".join(text.split()))
    found = REFERENCE.match(text)
    if found is None:
        return text
    other = option_texts(getattr(sys.modules[kind.__module__], found[1]))
    return other[name].removesuffix(".") + text[found.end() :]


def _literal(value: Any) -> str:
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
