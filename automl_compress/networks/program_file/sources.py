"""Where a node comes from: the line of source and the module that a file tells, for messages."""

import re

from automl_compress.core.json_field import JsonField

_FRAME = re.compile(r'\s*File "([^"\n]*)", line (\d{1,9}), in ')
_LONGEST = 100
_TORCH = "/torch/"


def source_line(metadata: JsonField | None) -> str:
    """Return file, line and text of the last frame outside of torch; "" where it is not told."""
    if metadata is None:
        return ""
    trace = metadata.find("stack_trace")
    if trace is None or not isinstance(trace.value, str):
        return ""
    lines = trace.value.splitlines()[-50:]
    for place in range(len(lines) - 1, -1, -1):
        frame = _FRAME.match(lines[place])
        if frame is None or _TORCH in frame.group(1):
            continue
        code = lines[place + 1].strip() if place + 1 < len(lines) else ""
        code = "" if _FRAME.match(code) else f": {plain(code)}"
        file = re.split(r"[/\\]", frame.group(1))[-1]
        return f"{plain(file)}, line {frame.group(2)}{code}"
    return ""


def calling_module(metadata: JsonField | None) -> tuple[str, str]:
    """Return path and class of the innermost module that ran a node; "" where not told."""
    stack = None if metadata is None else metadata.find("nn_module_stack")
    if stack is None or not isinstance(stack.value, str):
        return "", ""
    entry = stack.value.rpartition(";")[2].split(",")
    return (entry[1], entry[2]) if len(entry) == 3 else ("", "")


def plain(text: str) -> str:
    """Return the beginning of a text, with a question mark for every sign that is not printed."""
    shown = text[:_LONGEST] + ("..." if len(text) > _LONGEST else "")
    return "".join(each if each.isprintable() else "?" for each in shown)
