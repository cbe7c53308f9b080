"""The contract of splits, normalisation and augmentation."""

import numpy as np
import pytest
import torch

from automl_compress.core.errors import DataInvalid, InvalidInput, UnknownName
from automl_compress.data.augmentation import Augmentation, augment
from automl_compress.data.datasets import (
    IMAGENET_NORMALISATION,
    ImageData,
    Normalisation,
    Split,
    check_fits,
)

NORMALISATION = Normalisation((0.5,), (0.25,))


def make_split(count: int) -> Split:
    images = torch.arange(count * 16, dtype=torch.int64).remainder(256).to(torch.uint8)
    labels = torch.arange(count).remainder(2)
    return Split("search", images.view(count, 1, 4, 4), labels, NORMALISATION, "file rows 0-6")


def make_data() -> ImageData:
    split = make_split(7)
    return ImageData("made", 2, (1, 4, 4), NORMALISATION, Augmentation(), {"search": split})


def test_normalisation_scales_and_shifts_each_channel() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)

    result = Normalisation((0.5, 0.2), (0.25, 0.4)).apply(images)

    # (0 - 0.5) / 0.25 and (1 - 0.2) / 0.4
    torch.testing.assert_close(result.flatten(), torch.tensor([-2.0, 2.0]))


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.5,), (0.0,)), ((0.5,), (0.1, 0.1)), ((), ()), ((float("nan"),), (0.1,))],
)
def test_impossible_normalisation_is_refused(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"normalisation (has|divides)"):
        Normalisation(mean, std)


def test_normalisation_of_other_channels_is_refused() -> None:
    with pytest.raises(DataInvalid, match="1 channels but the normalisation 3"):
        IMAGENET_NORMALISATION.apply(make_split(2).images)


def test_batches_go_through_all_images_in_order() -> None:
    split = make_split(7)

    batches = list(split.batches(3))

    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    torch.testing.assert_close(torch.cat([images for images, _ in batches]), split.normalised())
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)


def test_training_batches_show_each_image_once_without_a_last_single_one(
    rng: np.random.Generator,
) -> None:
    batches = list(make_split(7).training_batches(3, rng, Augmentation()))

    seen = {tuple(image.flatten().tolist()) for images, _ in batches for image in images}
    assert [len(labels) for _, labels in batches] == [3, 3]
    assert make_split(7).training_batch_count(3) == 2
    assert make_split(8).training_batch_count(3) == 3
    assert len(seen) == 6


def test_same_generator_gives_the_same_training_batches() -> None:
    def run() -> list[torch.Tensor]:
        rng, allowed = np.random.default_rng(3), Augmentation(flip=True, crop_padding=1)
        return [images for images, _ in make_split(7).training_batches(3, rng, allowed)]

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)


def test_flip_mirrors_about_half_of_the_images(rng: np.random.Generator) -> None:
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    images = image.expand(200, 1, 2, 2)

    result = augment(images, Augmentation(flip=True), rng)

    mirrored = sum(torch.equal(each[0], image.flip(1)) for each in result)
    unchanged = sum(torch.equal(each[0], image) for each in result)
    assert mirrored + unchanged == 200
    assert 70 < mirrored < 130  # 100 +- 4 standard deviations of 7


def test_crop_shifts_each_image_into_black(rng: np.random.Generator) -> None:
    images = torch.zeros(500, 1, 3, 3, dtype=torch.uint8)
    images[:, :, 1, 1] = 9

    result = augment(images, Augmentation(crop_padding=1), rng)

    places = torch.nonzero(result[:, 0])
    assert (result == 9).sum() == 500
    assert {(row, column) for _, row, column in places.tolist()} == {
        (row, column) for row in range(3) for column in range(3)
    }


def test_no_augmentation_leaves_images_as_they_are(rng: np.random.Generator) -> None:
    images = make_split(3).images

    assert augment(images, Augmentation(), rng) is images


@pytest.mark.parametrize("padding", [-1, 65, 1.5, True])
def test_impossible_crop_padding_is_refused(padding: int) -> None:
    with pytest.raises(InvalidInput, match="crop_padding is"):
        Augmentation(crop_padding=padding)


def test_subset_says_where_it_comes_from() -> None:
    part = make_split(7).subset(2, 5)

    assert len(part) == 3
    assert part.provenance == "file rows 0-6, of these 2-4"
    assert torch.equal(part.images, make_split(7).images[2:5])


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (3, 3), (-1, 2)])
def test_subset_beyond_the_split_is_refused(start: int, stop: int) -> None:
    with pytest.raises(InvalidInput, match="search split, which has 7"):
        make_split(7).subset(start, stop)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(UnknownName, match="no split is called 'validation'"):
        make_data().split("validation")


def test_data_of_another_size_or_with_more_classes_do_not_fit() -> None:
    check_fits(make_data(), (1, 4, 4), 2)

    with pytest.raises(DataInvalid, match=r"made are 1x4x4 .* but the network takes 3x32x32"):
        check_fits(make_data(), (3, 32, 32))
    with pytest.raises(DataInvalid, match="made has 2 classes but the network tells 1 apart"):
        check_fits(make_data(), (1, 4, 4), 1)
