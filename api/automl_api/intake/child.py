"""The intake's child process: one JSON question on standard input, one answer on output."""

import hashlib
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from automl_api.problem import from_known
from automl_api.sources import DataSource, ModelSource
from automl_compress.core.errors import AutomlCompressError

_GIGABYTE = 1024**3
# torch reserves some gigabytes of addresses that it never uses.
_LEAST_ADDRESSES, _MOST_ADDRESSES = 8 * _GIGABYTE, 24 * _GIGABYTE
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_LIMITS = {
    resource.RLIMIT_AS: max(_LEAST_ADDRESSES, min(_MEMORY // 2, _MOST_ADDRESSES)),
    resource.RLIMIT_CPU: 600,
    resource.RLIMIT_FSIZE: 65_536,  # nothing of size is written, but to the pipe
    resource.RLIMIT_CORE: 0,
}


def main() -> None:
    """Answer one question; errors that are the user's become problems."""
    question = json.load(sys.stdin)
    output, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no part of the answer
    for limit, value in _LIMITS.items():
        resource.setrlimit(limit, (value, value))
    inspect = {
        "model": _inspect_model,
        "dataset": _inspect_dataset,
        "samples": _samples,
        "installation": _inspect_installation,
        "policy": _check_policy,
    }[question["kind"]]
    try:
        answer = inspect(question["source"], Path(question["data_dir"]))
    except AutomlCompressError as error:
        known = from_known(error)
        answer = _problem(known.status, known.code, known.detail, known.errors)
    except MemoryError:
        limit = _LIMITS[resource.RLIMIT_AS] // _GIGABYTE
        answer = _problem(422, "unsafe-file", f"reading it needs more than {limit} GB of memory")
    json.dump(answer, output)


def _problem(
    status: int, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    told = {"status": status, "code": code, "detail": detail, "errors": list(errors)}
    return {"problem": told}


def _inspect_model(source: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    import torch

    from automl_api.graph_json import graph_to_json
    from automl_compress.costs import AnalyticCosts
    from automl_compress.networks.describe import logit_count
    from automl_compress.networks.fingerprint import weights_fingerprint
    from automl_compress.networks.outputs import output_shapes, selected_output
    from automl_compress.networks.trace import trace

    torch.set_num_threads(1)
    told = ModelSource.from_json(source)
    module, input_shape = told.load_for_images(data_dir)
    classes = logit_count(module, input_shape)
    graph = trace(module, input_shape).graph
    fingerprint: dict[str, Any] = {
        "graph": graph.fingerprint,
        "weights": weights_fingerprint(module),
    }
    if selected_output(module) is not None:  # what is measured of one output says nothing of others
        fingerprint["output"] = told.output
    if told.program is not None:
        # Two programs may differ only by operators that no module's call shows.
        with (data_dir / told.program).open("rb") as file:
            fingerprint["program"] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return {
        "fingerprint": fingerprint,
        "input_shape": list(input_shape),
        "num_classes": classes,
        "output": told.output,
        "outputs": [list(shape) for shape in output_shapes(module, input_shape)],
        "totals": AnalyticCosts(graph).cost(graph.full_widths).to_json(),
        "graph": graph_to_json(graph),
    }


def _inspect_dataset(source: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    data = DataSource.from_json(source).load(data_dir)
    return {
        "num_classes": data.num_classes,
        "input_shape": list(data.input_shape),
        "normalisation": {
            "mean": list(data.normalisation.mean),
            "std": list(data.normalisation.std),
        },
        "augmentation": asdict(data.augmentation),
        "splits": {
            name: {"images": len(split), "provenance": split.provenance}
            for name, split in data.splits.items()
        },
    }


def _samples(source: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    from automl_api.intake.samples import samples_of

    data = DataSource.from_json(source).load(data_dir)
    return {"images": samples_of(data.splits["train"], data.num_classes)}


def _check_policy(source: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    from automl_api.intake.policies import check_policy

    return check_policy(source, data_dir)


def _inspect_installation(source: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    from automl_compress.compress.criteria import criterion_names
    from automl_compress.data.loading import data_names
    from automl_compress.networks.architectures import architecture_names

    return {
        "architectures": [_architecture(name) for name in architecture_names()],
        "datasets": list(data_names()),
        "criteria": list(criterion_names()),
    }


def _architecture(name: str) -> dict[str, Any]:
    from automl_compress.networks.architectures import architecture

    try:
        config = architecture(name).config
    except AutomlCompressError as error:  # another package's, which does not load
        return {"name": name, "config": {}, "problem": str(error)}
    return {"name": name, "config": {each.name: each.default for each in fields(config)}}


if __name__ == "__main__":
    main()
