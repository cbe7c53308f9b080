"""How a command follows the job that it submitted."""

from dataclasses import dataclass
from typing import Annotated

import typer

from automl_api.commands import options


@dataclass(frozen=True)
class Following:
    """Whether and how long a command waits for a job."""

    is_watching: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False
    is_waiting: Annotated[bool, typer.Option("--wait", help="Wait silently.")] = False
    timeout: options.Timeout = None
