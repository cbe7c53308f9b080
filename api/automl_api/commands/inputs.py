"""What MODEL and DATA mean on the command line, for `search`, `run` and `train` alike."""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automl_api.client import Client
from automl_api.commands.network_options import NetworkOptions
from automl_api.sources import PROGRAM_SUFFIX, DataSource, ModelSource
from automl_api.transport import Json
from automl_compress.core.errors import InvalidInput, ModelInvalid

_MODEL_ID, _DATA_ID = re.compile(r"mdl_[0-9a-z]{20}"), re.compile(r"dat_[0-9a-z]{20}")


@dataclass(frozen=True)
class ModelInput:
    """A network as the command line names it.

    normalisation: what the network was trained with, where its weights file says so.
    """

    source: ModelSource
    name: str
    normalisation: Mapping[str, Any] | None = None
    weights: Path | None = None
    program: Path | None = None


def read_model(
    model: str, weights: Path | None, config: Mapping[str, Any], output: int | None = None
) -> ModelInput:
    """Read MODEL, `--weights`, `--config` and `--scored-output`.

    Raises:
        ModelInvalid: a weights file that is none, or does not name its architecture.
        InvalidInput: a config for a program, which has none.
    """
    if model.endswith(PROGRAM_SUFFIX):
        return _read_program(Path(model), weights, config, output)
    if model.endswith(".safetensors"):
        weights, model = Path(model), ""
    told = {} if weights is None else weights_metadata(weights)
    architecture = model or told.get("architecture", "")
    if not architecture:
        raise ModelInvalid(
            f"{weights} does not name its architecture; give the architecture as MODEL and the "
            "file as --weights"
        )
    if told.get("architecture") == architecture:
        config = {**told.get("config", {}), **config}
    path = None if weights is None else str(weights.absolute())
    return ModelInput(
        ModelSource(architecture, config, path, output=output or 0),
        architecture if weights is None else weights.stem,
        told.get("normalisation"),
        weights,
    )


def _read_program(
    program: Path, weights: Path | None, config: Mapping[str, Any], output: int | None
) -> ModelInput:
    if config:
        raise InvalidInput(
            f"{program} is a program, which has no config ({', '.join(config)}); leave --config out"
        )
    told = {} if weights is None else weights_metadata(weights)
    source = ModelSource(
        None,
        weights=None if weights is None else str(weights.absolute()),
        program=str(program.absolute()),
        output=output or 0,
    )
    return ModelInput(source, program.stem, told.get("normalisation"), weights, program)


def read_data(
    data: str, given: Mapping[str, Any], normalisation: Mapping[str, Any] | None
) -> DataSource:
    """Read DATA as a name or a path of this machine.

    Args:
        data: the name or path.
        given: options that were given.
        normalisation: what the weights file names, for data of which none was given.
    """
    known = {} if normalisation is None else {"normalisation": dict(normalisation)}
    return DataSource("path", (data,), {**known, **given})


def weights_metadata(path: Path) -> dict[str, Any]:
    """Return what a file that `train` wrote says of itself, {} for others.

    Raises:
        ModelInvalid: it is no safetensors file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("the header is longer than the file")
            metadata = json.loads(file.read(length)).get("__metadata__", {})
            return json.loads(metadata.get("document", "{}"))
    except OSError as error:
        raise ModelInvalid(
            f"the weights file {path} cannot be read ({error.strerror}); give the path of a "
            "safetensors file"
        ) from error
    except (ValueError, struct.error, AttributeError) as error:
        raise ModelInvalid(
            f"{path} is not a safetensors file ({error}); make one of a pickled state dict with "
            f"'automl-compress convert {path}'"
        ) from error


def register_model(client: Client, model: str, network: NetworkOptions) -> str:
    """Return the id of MODEL, which is registered unless it is an id already.

    Raises:
        InvalidInput: an id, and an output, which was chosen when it was registered.
    """
    if not _MODEL_ID.fullmatch(model):
        return create_model(client, model, network)["id"]
    if network.scored_output is not None:
        raise InvalidInput(
            f"{model} is registered, and with it the output that is scored; leave --scored-output "
            "out, or register the network again"
        )
    return model


def create_model(
    client: Client, model: str, network: NetworkOptions, name: str | None = None
) -> Json:
    """Register MODEL; without a name it gets that of its file or architecture."""
    told = read_model(model, network.weights, network.fields(), network.scored_output)
    return client.create_model(
        told.source.architecture,
        program=told.program,
        name=name or told.name,
        config=told.source.config,
        weights=told.weights,
        output=network.scored_output or 0,
    )


def register_data(client: Client, data: str, options: Mapping[str, Any]) -> str:
    """Return the id of DATA, which is uploaded and registered unless it is an id already."""
    if _DATA_ID.fullmatch(data):
        return data
    return create_dataset(client, data, options)["id"]


def create_dataset(
    client: Client, data: str, options: Mapping[str, Any], name: str | None = None
) -> Json:
    """Upload and register DATA; without a name they get that of their file."""
    path = Path(data)
    if path.exists():
        return client.create_dataset(path, name=name, options=options)
    builtin = {"kind": "builtin", "name": data}
    return client.create_dataset(builtin, name=name or data, options=options)


def known_options(model: str, weights: Path | None) -> dict[str, Any]:
    """Return the data's options that a weights file names; {} where there is none."""
    file = Path(model) if model.endswith(".safetensors") else weights
    normalisation = None if file is None else weights_metadata(file).get("normalisation")
    return {} if normalisation is None else {"normalisation": normalisation}
