"""schemathesis over the whole interface of a running service; `make fuzz` is its long form."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from automl_api.intake import inspect_model
from automl_api.sources import ModelSource
from automl_compress.store import models
from tests.api.accounts import OPERATOR_KEY, Person, locked_settings
from tests.api.conftest import DIGITS_CONFIG, RunningService, running_service

HERE = Path(__file__).parent
LIMITS = {"requests_per_minute": 10**6, "wrong_keys_per_minute": 10**6}


def fuzz(service: RunningService, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis against a service, with every check, as its operator."""
    person = Person(service, "fuzzer", "admin").furnish()
    with service.database.session() as session:
        model = models.get(session, person.ids["model_id"])
        model.details = inspect_model(ModelSource("resnet-20", DIGITS_CONFIG), Path())
    command = [str(Path(sys.executable).with_name("schemathesis"))]
    command += ["--config-file", str(HERE / "schemathesis.toml"), "run", "--no-color"]
    command += ["--header", f"Authorization: Bearer {OPERATOR_KEY}", "--checks", "all"]
    command += ["--request-timeout", "120"]
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    service.http.get("/v1/capabilities", headers=headers)  # takes seconds, the first time
    ids = {name: value for name, value in person.ids.items() if name != "key_id"}
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks",
        "FUZZED_IDS": json.dumps(ids),
        "PYTHONPATH": str(HERE.parent.parent),
    }
    return subprocess.run(
        [*command, *options, f"{service.url}/openapi.json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def cases_of(output: str) -> int:
    """Return how many test cases schemathesis says that it sent."""
    found = re.search(r"([\d,]+) generated", output)
    return int(found[1].replace(",", "")) if found else 0


def main() -> None:
    """Fuzz a fresh service; arguments are those of `schemathesis run`."""
    with tempfile.TemporaryDirectory() as folder:
        settings = locked_settings(Path(folder), **LIMITS)
        with running_service(settings) as service:
            done = fuzz(service, *sys.argv[1:])
    print(done.stdout, done.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
