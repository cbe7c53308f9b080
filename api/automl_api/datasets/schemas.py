"""Bodies of `/v1/datasets`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from automl_api.bodies import Identity, Moment, Name, RequestBody, ResponseBody
from automl_compress.store import DatasetRow


class BuiltinSource(RequestBody):
    """Data that need no upload; `/v1/capabilities` names them."""

    kind: Literal["builtin"]
    name: Name


class NpzSource(RequestBody):
    """One npz archive with `images` and `labels`, split by a seeded permutation."""

    kind: Literal["npz"]
    file_id: Identity


class ZipSource(RequestBody):
    """One zip archive of image files in class folders, as `class/file` or `split/class/file`.

    The splits are `train`, `test` and, if need be, `search`, without which the test images are
    halved; without splits, all are split by a seeded permutation.
    """

    kind: Literal["zip"]
    file_id: Identity


class ParquetSource(RequestBody):
    """A train and a test file; search is the first half of the test file, test the second.

    Without a test file, the train file is split by a seeded permutation.
    """

    kind: Literal["parquet"]
    train_file_id: Identity
    test_file_id: Identity | None = None


class NormalisationBody(RequestBody):
    """Of pixels scaled to [0, 1]: one mean and one standard deviation for each channel."""

    mean: Annotated[list[float], Field(min_length=1, max_length=4)]
    std: Annotated[list[float], Field(min_length=1, max_length=4)]


class AugmentationBody(RequestBody):
    """What training may do to images: mirror them left to right, shift them by so many pixels."""

    flip: bool = False
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0


class NewDataset(RequestBody):
    """Data to register.

    augmentation: None takes what built-in data declare, and nothing for other data.
    normalisation: None measures it on the train split; give what the network was trained with.
    """

    name: Name
    source: Annotated[
        BuiltinSource | NpzSource | ZipSource | ParquetSource, Field(discriminator="kind")
    ]
    normalisation: NormalisationBody | None = None
    augmentation: AugmentationBody | None = None
    num_classes: Annotated[int, Field(ge=2, le=100_000)] | None = None
    max_train_images: Annotated[int, Field(ge=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class SplitBody(ResponseBody):
    """Images of one split, and which ones of the source they are."""

    images: int
    provenance: str


class DatasetBody(ResponseBody):
    """Registered data. Everything was read when they were registered.

    augmentation: null for data of versions that did not tell it.
    """

    id: str
    name: str
    status: str = "ready"
    kind: str
    input_shape: Sequence[int]
    num_classes: int
    normalisation: Mapping[str, Sequence[float]]
    augmentation: AugmentationBody | None = None
    splits: Mapping[str, SplitBody]
    created: Moment


def dataset_body(row: DatasetRow) -> DatasetBody:
    """Describe a data set's row."""
    content: dict[str, Any] = {
        **row.details,
        "id": row.id,
        "name": row.name,
        "kind": row.source["kind"],
        "created": row.created_at,
    }
    return DatasetBody.model_validate(content)
