"""Training a PruningNet: what it learns, what a kill leaves, what is reused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from automl_compress.core import CompressionSpace, PruningNetConfig, Recipe, SpaceOptions
from automl_compress.core.errors import InvalidInput
from automl_compress.costs import compression_space
from automl_compress.data.augmentation import Augmentation
from automl_compress.data.datasets import ImageData, Split
from automl_compress.networks.outputs import every_output, select_output
from automl_compress.networks.trace import Network, trace
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.progress import TrainingProgress
from automl_compress.train.pruning_net import Structures, TrainedPruningNet, prepare_pruning_net
from tests.api.strangers import TwoOutputs
from tests.automl_compress.evaluate.splits import NORMALISATION, split
from tests.automl_compress.networks import topologies
from tests.automl_compress.networks.counting import settled

IMAGE = (3, 8, 8)
QUICK = PruningNetConfig(rank=2, epochs=2, batch_size=16, learning_rate=0.02)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return trace(settled(topologies.Classifier(topologies.Residual("option A"), 12), IMAGE), IMAGE)


@pytest.fixture(scope="module")
def data() -> ImageData:
    splits = {
        "train": split("train", 50, seed=2),
        "search": split("search", 20, seed=1),
        "test": split("test", 20, seed=3),
    }
    return ImageData("made up", 4, IMAGE, NORMALISATION, Augmentation(flip=True), splits)


def space_of(network: Network, **options: object) -> CompressionSpace:
    chosen = SpaceOptions(**options)  # type: ignore[arg-type]
    return compression_space(network.graph, chosen)


def recipe_of(config: PruningNetConfig) -> Recipe:
    return Recipe(
        repair="recalibration", calibration_images=20, weights="pruning_net", pruning_net=config
    )


def trained(
    network: Network,
    data: ImageData,
    config: PruningNetConfig = QUICK,
    folder: Path | None = None,
    **options: object,
) -> TrainedPruningNet:
    space = space_of(network, **options)
    found = prepare_pruning_net(network, data, space, recipe_of(config), folder)
    assert found is not None
    return found


def same_weights(first: TrainedPruningNet, second: TrainedPruningNet) -> bool:
    ours, theirs = first.net.state_dict(), second.net.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_inherited_weights_need_no_training(network: Network, data: ImageData) -> None:
    assert prepare_pruning_net(network, data, space_of(network), Recipe()) is None


@pytest.mark.parametrize(
    "changes", [{}, {"sampling": "single"}, {"precision": "bfloat16"}], ids=str
)
def test_training_is_deterministic_and_changes_every_part(
    network: Network, data: ImageData, changes: dict[str, str]
) -> None:
    config = replace(QUICK, **changes)

    first, second = trained(network, data, config), trained(network, data, config)

    assert same_weights(first, second)
    assert not same_weights(first, trained(network, data, replace(config, seed=1)))
    state = first.net.state_dict()
    directions = [value for key, value in state.items() if "directions" in key]
    assert directions
    assert all(bool(value.any()) for value in directions)
    assert len(first.epochs) == 2
    assert first.cpu_seconds > 0
    assert not first.net.training


def test_killed_training_goes_on_behind_its_last_epoch(
    network: Network, data: ImageData, tmp_path: Path
) -> None:
    config = replace(QUICK, epochs=3)

    def die_in_epoch_3(progress: TrainingProgress) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_pruning_net(
            network, data, space_of(network), recipe_of(config), tmp_path, die_in_epoch_3
        )
    seen: list[int] = []
    resumed = prepare_pruning_net(
        network,
        data,
        space_of(network),
        recipe_of(config),
        tmp_path,
        lambda progress: seen.append(progress.epoch),
    )

    assert set(seen) == {3}
    assert resumed is not None
    assert same_weights(resumed, trained(network, data, config))
    assert [path.name for path in tmp_path.iterdir()] == [f"{resumed.key[7:]}.safetensors"]


def test_a_later_search_reuses_it_whatever_its_seed_and_budget(
    network: Network, data: ImageData, tmp_path: Path
) -> None:
    first = trained(network, data, folder=tmp_path)

    def never(progress: TrainingProgress) -> None:
        raise AssertionError("it was trained again")

    recipe = replace(recipe_of(QUICK), seed=9, signal="kl", images=10)
    again = prepare_pruning_net(network, data, space_of(network), recipe, tmp_path, never)

    assert again is not None
    assert (first.is_reused, again.is_reused) == (False, True)
    assert same_weights(first, again)
    assert again.epochs == first.epochs
    assert again.to_json() == first.to_json()


def test_whatever_decides_the_weights_decides_the_file(
    network: Network, data: ImageData, tmp_path: Path
) -> None:
    other_images = replace(data, splits={**data.splits, "train": split("train", 50, seed=5)})
    other_augmentation = replace(data, augmentation=Augmentation())
    config = replace(QUICK, epochs=1)

    keys = [
        trained(network, data, config, tmp_path).key,
        trained(network, other_images, config, tmp_path).key,
        trained(network, other_augmentation, config, tmp_path).key,
        trained(network, data, replace(config, rank=1), tmp_path).key,
        trained(network, data, replace(config, images=40), tmp_path).key,
        trained(network, data, config, tmp_path, max_sparsity=0.5).key,
        trained(network, data, config, tmp_path, criterion="l2").key,
    ]

    assert len(set(keys)) == len(keys)
    assert len(list(tmp_path.iterdir())) == len(keys)


def test_a_file_under_a_wrong_name_is_refused(
    network: Network, data: ImageData, tmp_path: Path
) -> None:
    first = trained(network, data, folder=tmp_path)
    other = trained(network, data, replace(QUICK, rank=1), tmp_path)
    place = tmp_path / f"{first.key[7:]}.safetensors"
    place.write_bytes((tmp_path / f"{other.key[7:]}.safetensors").read_bytes())

    with pytest.raises(InvalidInput, match="delete it"):
        trained(network, data, folder=tmp_path)


def test_structures_are_nested_and_within_the_space(network: Network) -> None:
    space = space_of(network, max_sparsity=0.75, skip=(network.graph.groups[0].name,))
    ranking = [torch.randperm(channels) for channels in network.plan.channels]
    structures, rng = Structures(space, ranking), np.random.default_rng(0)

    drawn = [structures.draw(rng) for _ in range(200)]

    for kept in drawn:
        for indices, smallest, largest in zip(
            kept, structures.smallest, structures.largest, strict=True
        ):
            assert set(smallest.tolist()) <= set(indices.tolist()) <= set(largest.tolist())
            assert indices.tolist() == sorted(indices.tolist())
    widths = np.array([[len(indices) for indices in kept] for kept in drawn])
    assert set(widths[:, 0]) == {network.plan.channels[0]}
    assert all(len(set(column)) > 3 for column in widths[:, 1:].T)
    assert (widths >= space.smallest).all()


def test_narrow_structures_learn(network: Network) -> None:
    """On images whose brightness is their class; noise would teach nothing."""
    splits = {
        name: bright(name, images, seed)
        for seed, (name, images) in enumerate([("train", 200), ("search", 100), ("test", 20)])
    }
    data = ImageData("bright", 4, IMAGE, NORMALISATION, Augmentation(), splits)
    config = PruningNetConfig(rank=2, epochs=8, batch_size=20, learning_rate=0.05)

    net = trained(network, data, config).net.train()

    structures = Structures(space_of(network), [torch.arange(c) for c in network.plan.channels])
    batch = next(splits["search"].batches(100))
    for kept in (structures.largest, structures.draw(np.random.default_rng(1))):
        with torch.no_grad():
            hits = (net(batch[0], kept).argmax(1) == batch[1]).float().mean()
        assert hits > 0.6
    assert evaluate_accuracy(network.module, splits["search"])[0] < 60


def bright(name: str, images: int, seed: int) -> Split:
    made = split(name, images, seed)
    pixels = made.images // 8 + (made.labels * 60)[:, None, None, None]
    return replace(made, images=pixels.to(torch.uint8))


def test_the_faithful_training_is_that_of_the_public_code() -> None:
    config = PruningNetConfig.from_json({"mode": "faithful", "epochs": 2})

    assert config == replace(PruningNetConfig.faithful(), epochs=2)
    assert (config.rank, config.batch_size, config.learning_rate) == (32, 512, 0.25)
    assert (config.schedule, config.sampling, config.starts_from) == ("linear", "single", "random")
    assert (PruningNetConfig.faithful().epochs, config.label_smoothing) == (64, 0.1)


def test_random_weights_are_trained(network: Network, data: ImageData) -> None:
    config = PruningNetConfig.from_json(
        {"mode": "faithful", "epochs": 1, "batch_size": 16, "rank": 4}
    )

    first, second = trained(network, data, config), trained(network, data, config)

    assert same_weights(first, second)


@pytest.fixture(scope="module")
def two_outputs() -> tuple[Network, Network]:
    """One network of two heads, scored by the first and by the second."""
    torch.manual_seed(0)
    module = settled(TwoOutputs(), IMAGE)
    first, second = (trace(select_output(module, IMAGE, output), IMAGE) for output in (0, 1))
    return first, second


def test_a_network_of_two_outputs_learns_the_scored_one_and_keeps_the_other(
    two_outputs: tuple[Network, Network], data: ImageData
) -> None:
    network = two_outputs[0]

    net = trained(network, data).net

    kept = Structures(space_of(network), [torch.arange(c) for c in network.plan.channels]).smallest
    small = net.network(kept)
    images = torch.rand(5, *IMAGE)
    with torch.no_grad():
        logits, other = every_output(small, images)
        assert torch.equal(small(images), logits)
    assert (logits.shape, other.shape) == ((5, 4), (5, 5))
    before, after = network.module.state_dict(), small.state_dict()
    assert torch.equal(after["hidden.bias"], before["hidden.bias"])
    assert not torch.equal(after["classifier.bias"], before["classifier.bias"])


def test_each_scored_output_has_a_pruning_net_of_its_own(
    two_outputs: tuple[Network, Network], data: ImageData, tmp_path: Path
) -> None:
    config = replace(QUICK, epochs=1)

    first, second = (trained(each, data, config, tmp_path) for each in two_outputs)

    assert first.key != second.key
    assert not second.is_reused


def test_layers_of_other_outputs_do_not_begin_at_random(
    two_outputs: tuple[Network, Network], data: ImageData
) -> None:
    with pytest.raises(InvalidInput, match=r"depend on hidden, other, .* take 'trained'"):
        trained(two_outputs[0], data, replace(QUICK, starts_from="random"))
