"""What schemathesis is told of the service under test: ids of things that are there.

It reads them from the environment, since it runs in a process of its own.
"""

import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ.get("FUZZED_IDS", "{}"))


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Name what is there, but where what is sent is wrong on purpose, or would be deleted."""
    if path_parameters is None or context.operation.method.upper() == "DELETE":
        return path_parameters
    # By the length of what was made up, so that the same seed sends the same requests.
    return {
        name: KNOWN[name] if name in KNOWN and len(str(value)) % 3 else value
        for name, value in path_parameters.items()
    }


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Let jobs be on the network and the data that are there."""
    if isinstance(body, dict):
        for name in ("model_id", "dataset_id"):
            if isinstance(body.get(name), str) and len(body[name]) == 24:
                body[name] = KNOWN.get(name, body[name])
    return body
