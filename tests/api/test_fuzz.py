"""The short form of `make fuzz`: every operation, every check, links followed."""

from pathlib import Path

import pytest

from tests.api.accounts import locked_settings
from tests.api.conftest import running_service
from tests.api.fuzzing import LIMITS, cases_of, fuzz


@pytest.mark.slow
def test_generated_requests_get_the_answers_that_are_described(tmp_path: Path) -> None:
    with running_service(locked_settings(tmp_path, **LIMITS)) as service:
        done = fuzz(service, "--phases", "fuzzing,stateful", "--max-examples", "3", "--seed", "1")

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert cases_of(done.stdout) > 100
