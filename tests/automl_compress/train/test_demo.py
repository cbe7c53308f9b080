"""The checkpoint that ships with the package."""

from dataclasses import asdict
from pathlib import Path

import pytest

from automl_compress.data.datasets import check_fits
from automl_compress.data.loading import load_data
from automl_compress.networks.architectures import architecture, build_network, load_weights
from automl_compress.train import demo
from automl_compress.train.accuracy import evaluate_accuracy
from automl_compress.train.checkpoint import read_checkpoint
from automl_compress.train.config import TrainingConfig


def test_shipped_checkpoint_is_small_and_as_accurate_as_its_document_says() -> None:
    document, data = read_checkpoint(demo.DEMO_WEIGHTS)[1], load_data("digits")
    config = document["config"]
    network = build_network(document["architecture"], config)
    load_weights(network, demo.DEMO_WEIGHTS)

    correct, total = evaluate_accuracy(network, data.split("search"))

    chosen = architecture(document["architecture"])
    check_fits(data, chosen.input_shape(chosen.configure(config)), 10)
    assert demo.DEMO_WEIGHTS.stat().st_size < 1_500_000
    # Another processor may round otherwise, and turn an image that lies between two classes.
    assert correct == pytest.approx(document["search_correct"], abs=1)
    assert total == document["search_total"] == 397
    assert correct / total >= 0.975


def test_shipped_checkpoint_was_made_by_the_present_settings() -> None:
    _, document = read_checkpoint(demo.DEMO_WEIGHTS)

    assert document["training"] == asdict(demo.DEMO_TRAINING)
    assert document["config"] == demo.DEMO_CONFIG
    normalisation = load_data("digits").normalisation
    assert document["normalisation"]["mean"] == pytest.approx(normalisation.mean)


def test_demo_checkpoint_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DEMO_TRAINING", TrainingConfig(epochs=1, batch_size=64))
    path = tmp_path / "demo.safetensors"

    made = demo.train_demo_checkpoint(path)

    assert (made.path, made.search_total) == (path, 397)
    assert read_checkpoint(path)[1].keys() == read_checkpoint(demo.DEMO_WEIGHTS)[1].keys()
    load_weights(build_network(demo.DEMO_ARCHITECTURE, demo.DEMO_CONFIG), path)
