"""One function call in a process of its own, which ends with it."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from automl_compress.core.errors import AutomlCompressError, ModelInvalid

Result = TypeVar("Result")

_POLL_SECONDS = 0.5
_PARTING_SECONDS = 5.0  # to give back what the function took of the system, semaphores for one


def run_isolated(
    function: Callable[..., Result],
    *arguments: Any,
    go_on: Callable[[], None] = lambda: None,
) -> Result:
    """Call a function in a spawned process and return what it returns.

    What crashes there crashes nobody here, its threads and its memory are gone afterwards, and
    code that may run once in a process, as torch's exporter, runs many times side by side.

    Args:
        function: of a module, by name; a script calls this behind `if __name__ == "__main__"`.
        arguments: of the function; they and its result must survive pickling.
        go_on: called every half second; what it raises ends the process.

    Raises:
        AutomlCompressError: what the function raised of these.
        ModelInvalid: the process ended without a result.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    # A pipe and no pool: a child whose parent was killed ends at its first word.
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while not ours.poll(_POLL_SECONDS):
            go_on()
        kind, content = ours.recv()
        process.join(_PARTING_SECONDS)
    except EOFError as error:
        process.join()
        raise ModelInvalid(
            f"the process that did this work ended without a result ({ending(process.exitcode)}): "
            "an engine crashed, or memory ran out; try another format, target or smaller batch"
        ) from error
    finally:
        ours.close()
        process.kill()
        process.join()
    if kind is None:
        return content
    raise kind(content)


def ending(exit_code: int | None) -> str:
    """Say how a spawned process ended; one that cannot even begin ends with 1."""
    if exit_code != 1:
        return f"exit code {exit_code}"
    return 'exit code 1; a script must call this behind `if __name__ == "__main__":`'


def _answer(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = None, function(*arguments)
    except AutomlCompressError as error:
        answer = _with_message_alone(type(error)), str(error)
    pipe.send(answer)


def _with_message_alone(kind: type[AutomlCompressError]) -> type[AutomlCompressError]:
    """Return the nearest class that is made of a message, as an error that travels must be."""
    return next(each for each in kind.__mro__ if "__init__" not in vars(each))
