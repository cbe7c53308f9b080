"""From what a job's specification says of network and data to the things themselves.

Read by the intake, which checks what users register, by the worker, and by `run` without a
server. Everything heavy is imported where it is used: the HTTP process never loads torch.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from automl_compress.core.errors import InvalidInput, NotFound, UnknownName

if TYPE_CHECKING:
    from torch import nn

    from automl_compress.data.datasets import ImageData
    from automl_compress.data.rows import DataOptions

PROGRAM_SUFFIX = ".pt2"  # by which command lines tell a program from weights
DataKind = Literal["builtin", "npz", "zip", "parquet", "path"]


@dataclass(frozen=True)
class ModelSource:
    """A network: a registered architecture or a program, and where its weights lie.

    architecture: its name; None where `program` is the network.
    weights: a safetensors file, relative to the data directory or absolute; None leaves the
        initial weights of seed 0, or those of the program.
    program: a `.pt2` file of torch.export, relative to the data directory or absolute.
    output: number of the output that accuracy is measured on, where there are several.
    """

    architecture: str | None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    weights: str | None = None
    program: str | None = None
    output: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the source as a JSON object."""
        return {
            "architecture": self.architecture,
            "config": dict(self.config),
            "weights": self.weights,
            "program": self.program,
            "output": self.output,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ModelSource":
        """Read what `to_json` wrote; further members are ignored."""
        return cls(
            content.get("architecture"),
            content.get("config") or {},
            content.get("weights"),
            content.get("program"),
            content.get("output") or 0,
        )

    def load(self, data_dir: Path) -> "nn.Module":
        """Build the network and fill in its weights; raises what `load_for_images` raises."""
        return self.load_for_images(data_dir)[0]

    def load_for_images(self, data_dir: Path) -> "tuple[nn.Module, tuple[int, ...]]":
        """Build the network and fill in its weights.

        Returns:
            The network in evaluation mode, its output selected, and the shape of one image.

        Raises:
            UnknownName: no architecture goes by this name.
            ModelInvalid: the program is none that can be read, or has no such output.
            InvalidInput: the config, or the weights, do not fit.
            NotFound: a file is gone.
        """
        from automl_compress.networks.architectures import load_weights
        from automl_compress.networks.outputs import select_output

        module, input_shape = self._build(data_dir)
        if self.weights is not None:
            load_weights(module, _existing(data_dir / self.weights))
        return select_output(module.eval(), input_shape, self.output), input_shape

    def _build(self, data_dir: Path) -> "tuple[nn.Module, tuple[int, ...]]":
        from automl_compress.networks.architectures import architecture
        from automl_compress.networks.program_file.reading import read_program
        from automl_compress.train.randomness import seeded

        if self.program is not None:
            program = read_program(_existing(data_dir / self.program))
            return program.module, program.input_shape
        if self.architecture is None:
            raise InvalidInput(
                "the network has neither an architecture nor a program; name one of the two"
            )
        chosen = architecture(self.architecture)
        config = chosen.configure(self.config)
        with seeded(0):
            return chosen.build(config), chosen.input_shape(config)


@dataclass(frozen=True)
class DataSource:
    """Where labelled images come from.

    kind, location: a built-in set and its name; an npz file; a zip archive of images; one
        parquet file, or a train and a test file; or a path as the command line takes it.
    options: `name`, `num_classes`, `max_train_images`, `seed`, `normalisation` as `{mean, std}`,
        and `augmentation` as `{flip, crop_padding}`.
    """

    kind: DataKind
    location: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return the source as a JSON object."""
        return {
            "kind": self.kind,
            "location": list(self.location),
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataSource":
        """Read what `to_json` wrote; further members are ignored."""
        return cls(content["kind"], tuple(content["location"]), content.get("options") or {})

    def load(self, data_dir: Path) -> "ImageData":
        """Read the images.

        Raises:
            UnknownName: there is no built-in set of this name.
            DataInvalid: the data are empty, corrupt or unfit.
            NotFound: a file is gone.
        """
        from automl_compress.data.loading import data_names, load_data
        from automl_compress.data.parquet import load_parquet_folder

        options = self._options()
        # The loader takes names and paths alike; a request may not name a path of the server.
        if self.kind == "builtin" and self.location[0] not in data_names():
            raise UnknownName("built-in data set", self.location[0], data_names())
        if self.kind in ("builtin", "path"):
            return load_data(self.location[0], options)
        files = [_existing(data_dir / each) for each in self.location]
        if len(files) == 1:
            return load_data(files[0], options)
        with tempfile.TemporaryDirectory() as folder:
            for name, file in zip(("train.parquet", "test.parquet"), files, strict=True):
                (Path(folder) / name).symlink_to(file.absolute())
            return load_parquet_folder(Path(folder), options)

    def _options(self) -> "DataOptions":
        from automl_compress.data.augmentation import Augmentation
        from automl_compress.data.datasets import Normalisation
        from automl_compress.data.rows import DataOptions

        rest = dict(self.options)
        told = rest.pop("normalisation", None)
        if told is not None:
            rest["normalisation"] = Normalisation(tuple(told["mean"]), tuple(told["std"]))
        if "augmentation" in rest:
            rest["augmentation"] = Augmentation(**rest["augmentation"])
        try:
            return DataOptions(**rest)
        except TypeError as error:
            raise InvalidInput(f"the data's options cannot be used: {error}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise NotFound(
            f"the file {path.name} is not in the data directory; it was removed by hand, or "
            "another data directory is in use"
        )
    return path
