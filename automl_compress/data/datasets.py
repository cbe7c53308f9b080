"""The one shape in which the project sees data: `ImageData` of three disjoint `Split`s."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from automl_compress.core.errors import DataInvalid, InvalidInput, UnknownName
from automl_compress.data.augmentation import Augmentation, augment

SPLIT_NAMES = ("train", "search", "test")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is taken from each channel, and what it is then divided by.

    Attributes:
        mean: one a channel, of pixels scaled to [0, 1].
        std: one a channel, above 0, of pixels scaled to [0, 1].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise `InvalidInput` where the two don't fit together."""
        values = np.array([*self.mean, *self.std], dtype=np.float64)
        if len(self.mean) != len(self.std) or not self.mean or not np.isfinite(values).all():
            raise InvalidInput(
                f"the normalisation has mean {self.mean} and std {self.std}; give one finite mean "
                "and one finite std for each channel"
            )
        if min(self.std) <= 0:
            raise InvalidInput(f"the normalisation divides by std {self.std}; all must be above 0")

    def to_json(self) -> dict[str, list[float]]:
        """Return the normalisation as a JSON object."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def apply(self, images: Tensor) -> Tensor:
        """Map uint8 (B, C, H, W), or signals (B, C, L), to float32 of the same shape.

        Raises:
            DataInvalid: the images have another number of channels.
        """
        if images.shape[1] != len(self.mean):
            raise DataInvalid(
                f"the images have {images.shape[1]} channels but the normalisation "
                f"{len(self.mean)}; give a mean and a std for each channel"
            )
        channels = 1, -1, *[1] * (images.dim() - 2)
        mean = torch.tensor(self.mean, device=images.device).view(channels)
        std = torch.tensor(self.std, device=images.device).view(channels)
        return images.float().sub_(255 * mean).div_(255 * std)


# What torchvision's networks, and the published CIFAR-10 ResNets, were trained with.
IMAGENET_NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a data set, in a fixed order.

    Attributes:
        name: `train`, `search` or `test`.
        images: uint8 (N, C, H, W), or signals (N, C, L).
        labels: int64 (N,), 0 to num_classes - 1.
        normalisation: how pixels become what the network sees.
        provenance: file and rows, for instance `test.parquet rows 0-4,999`.
    """

    name: str
    images: Tensor
    labels: Tensor
    normalisation: Normalisation
    provenance: str

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, device: str | torch.device = "cpu") -> Tensor:
        """Give all images as float32 (N, C, H, W) on `device`; four times the stored bytes."""
        return self.normalisation.apply(self.images.to(device))

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through all images in order.

        Yields:
            Normalised images (B, C, H, W) and labels (B,); the last batch may be smaller.
        """
        _check_batch_size(batch_size)
        pairs = zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)
        for images, labels in pairs:
            yield self.normalisation.apply(images), labels

    def training_batches(
        self, batch_size: int, rng: np.random.Generator, augmentation: Augmentation
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through the images once, shuffled and augmented.

        A last batch of a single image is left out, as batch normalisation can't take it.

        Yields:
            Normalised images (B, C, H, W) and labels (B,), `training_batch_count` times.
        """
        order = torch.from_numpy(rng.permutation(len(self)))
        for chosen in order.split(batch_size)[: self.training_batch_count(batch_size)]:
            images = augment(self.images[chosen], augmentation, rng)
            yield self.normalisation.apply(images), self.labels[chosen]

    def training_batch_count(self, batch_size: int) -> int:
        """Count the batches of one epoch."""
        _check_batch_size(batch_size)
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1 or len(self) == 1)

    def subset(self, start: int, stop: int) -> "Split":
        """Take images `start` to `stop - 1` of this split; the tensors share memory with it.

        Raises:
            InvalidInput: the range is empty or reaches beyond the split.
        """
        if not 0 <= start < stop <= len(self):
            raise InvalidInput(
                f"images {start} to {stop} were asked of the {self.name} split, which has "
                f"{len(self):,}; give 0 <= start < stop <= {len(self)}"
            )
        return replace(
            self,
            images=self.images[start:stop],
            labels=self.labels[start:stop],
            provenance=f"{self.provenance}, of these {start:,}-{stop - 1:,}",
        )


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for classification.

    Attributes:
        name: what figures call it.
        num_classes: labels are below this.
        input_shape: (C, H, W) of every image, or (C, L) of every signal.
        normalisation: applied by every split.
        augmentation: what training may do to the images.
        splits: disjoint, by their names in `SPLIT_NAMES`.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, ...]
    normalisation: Normalisation
    augmentation: Augmentation
    splits: Mapping[str, Split]

    def split(self, name: str) -> Split:
        """Give one split.

        Args:
            name: `train` for weights, calibration and fine-tuning; `search` for choosing
                policies; `test` for scoring a confirmed policy, once.

        Raises:
            UnknownName: there is no such split.
        """
        if name not in self.splits:
            raise UnknownName("split", name, self.splits)
        return self.splits[name]


def check_fits(
    data: ImageData, input_shape: tuple[int, ...], num_classes: int | None = None
) -> None:
    """Refuse data that a network can't take.

    Args:
        data: what the network is to see.
        input_shape: what the network takes, (C, H, W) or (C, L).
        num_classes: how many logits the network gives; None leaves that unchecked.

    Raises:
        DataInvalid: the shapes differ, or labels lie beyond the logits.
    """
    if tuple(data.input_shape) != tuple(input_shape):
        raise DataInvalid(
            f"the images of {data.name} are {_shape_text(data.input_shape)} but the network takes "
            f"{_shape_text(input_shape)}; choose other data, scale the images, or build the "
            f"network with in_channels={data.input_shape[0]} and an image_size that matches"
        )
    if num_classes is not None and data.num_classes > num_classes:
        raise DataInvalid(
            f"{data.name} has {data.num_classes} classes but the network tells {num_classes} "
            f"apart; choose other data, or build the network with num_classes={data.num_classes}"
        )


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) + (" (channels x height x width)" if len(shape) == 3 else "")


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InvalidInput(f"batch_size is {batch_size}; give 1 or more")
