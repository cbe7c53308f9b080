"""Messages for callers name files, not where these lie on the machine of the service."""

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import Any, cast

from starlette.requests import Request

import automl_compress
from automl_api.problem import Problem, document
from automl_api.settings import Settings

_INSTALLED = (
    Path(sys.prefix),
    Path(sysconfig.get_path("stdlib")),
    Path(automl_compress.__file__).parents[1],
)


def without_folders(text: str, data_dir: Path) -> str:
    """Return a message with the last part alone of each path of this machine.

    Paths are those below the data directory, the folder for temporary files, the home of the
    service's user, and where Python and this package are installed; what only looks like a path,
    as the address of a resource or a member of an archive, stays.

    Args:
        text: the message.
        data_dir: where uploads and artifacts lie.
    """
    return _paths_below(data_dir).sub(_name, text)


def content_without_folders(content: Any, data_dir: Path) -> Any:
    """Do the same with every text of a JSON value."""
    if isinstance(content, str):
        return without_folders(content, data_dir)
    if isinstance(content, dict):
        named = cast("dict[str, Any]", content)
        return {name: content_without_folders(value, data_dir) for name, value in named.items()}
    if isinstance(content, (list, tuple)):
        rows = cast("list[Any]", content)
        return [content_without_folders(value, data_dir) for value in rows]
    return content


def document_for(request: Request, problem: Problem) -> dict[str, Any]:
    """Write the problem document that answers a request."""
    settings = cast("Settings", request.app.state.settings)
    content = document(problem, request.url.path, getattr(request.state, "request_id", ""))
    told = {name: content[name] for name in ("detail", "errors") if name in content}
    return {**content, **content_without_folders(told, settings.data_dir)}


@cache
def _paths_below(data_dir: Path) -> re.Pattern[str]:
    patterns: list[str] = []
    for folder in sorted(set(_folders(data_dir)), key=len, reverse=True):
        # A relative one may be a word like any other.
        itself = r"|(?![\w./-])" if PurePath(folder).is_absolute() else ""
        patterns.append(rf"{re.escape(folder)}(?:/[^\s'\"`,;:()\[\]]*{itself})")
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(patterns)})")


def _folders(data_dir: Path) -> Iterator[str]:
    # Not tempfile.gettempdir(), which writes a file: a full disk is what some messages tell of.
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    home = Path(os.environ.get("HOME", "/"))  # where libraries keep what they fetched or compiled
    for folder in (data_dir, temporary, home, *_INSTALLED):
        for each in (folder, folder.absolute(), folder.resolve()):
            if each.name:  # neither the root nor "."
                yield str(each)


def _name(found: re.Match[str]) -> str:
    path = found[0]
    rest = path[len(path.rstrip(".")) :]  # of the sentence
    return PurePath(path.rstrip(".")).name + rest
