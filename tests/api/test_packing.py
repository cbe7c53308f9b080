"""`pack`, `inspect` and `unpack` on real files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from automl_api.cli import app
from automl_compress.core.errors import DataInvalid, InvalidInput, ModelInvalid, PolicyInvalid


def run(*arguments: object) -> str:
    found = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "layer.weight": torch.randn(32, 64, 3, 3, generator=generator),
        "layer.bias": torch.randn(32, generator=generator),
        "count": torch.tensor(7),
    }
    save_file(tensors, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_floats_come_back_bit_for_bit(weights: Path, tmp_path: Path) -> None:
    run("pack", weights, "-o", tmp_path / "packed.amlc")
    run("unpack", tmp_path / "packed.amlc", "-o", tmp_path / "again.safetensors")

    before, after = load_file(weights), load_file(tmp_path / "again.safetensors")
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("bits", "smallest"), [(8, 3.8), (4, 7.8), (2, 15)])
def test_fewer_bits_make_smaller_files(
    weights: Path, tmp_path: Path, bits: int, smallest: float
) -> None:
    packed = tmp_path / "packed.amlc"

    told = json.loads(run("pack", weights, "-o", packed, "--bits", bits, "--json"))["size_bytes"]

    assert told["after"] == packed.stat().st_size
    assert told["before"] / told["after"] > smallest
    run("unpack", packed, "-o", tmp_path / "again.safetensors")
    weight = load_file(tmp_path / "again.safetensors")["layer.weight"]
    assert max(len(row.unique()) for row in weight.flatten(1)) <= 2**bits
    assert torch.equal(
        load_file(tmp_path / "again.safetensors")["layer.bias"], load_file(weights)["layer.bias"]
    )


def test_one_scale_takes_less_room_than_one_for_each_output(weights: Path, tmp_path: Path) -> None:
    sizes: dict[str, int] = {}
    for scales in ("channel", "tensor"):
        packed = tmp_path / f"{scales}.amlc"
        run("pack", weights, "-o", packed, "--bits", 8, "--weight-scales", scales)
        run("unpack", packed, "-o", tmp_path / f"{scales}.safetensors")
        rows = json.loads(run("inspect", packed, "--json"))["tensors"]
        row = next(each for each in rows if each["name"] == "layer.weight")
        # Codes at what they take, and 4 bytes a scale.
        sizes[scales] = row["size_bytes"] - row["bits_per_entry"] * 32 * 64 * 9 / 8
    weight = load_file(tmp_path / "tensor.safetensors")["layer.weight"].double()

    assert len(weight.unique()) <= 255
    assert sizes == {"channel": pytest.approx(32 * 4), "tensor": pytest.approx(4)}
    with pytest.raises(PolicyInvalid, match="'kmeans' gives each output channel a codebook"):
        run(
            *("pack", weights, "-o", packed, "--bits", 4, "--quantiser", "kmeans"),
            *("--weight-scales", "tensor"),
        )
    with pytest.raises(PolicyInvalid, match="weight_scales is 'row'; choose one of: channel, te"):
        run("pack", weights, "-o", packed, "--bits", 4, "--weight-scales", "row")


def test_inspect_accounts_for_every_byte(weights: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.amlc"
    run("pack", weights, "-o", packed, "--bits", 4, "--sparsity", 0.8)

    found = json.loads(run("inspect", packed, "--json"))

    rows = {row["name"]: row for row in found["tensors"]}
    assert found["size_bytes"] == packed.stat().st_size
    assert (
        found["directory_bytes"] + sum(r["size_bytes"] for r in rows.values())
        == found["size_bytes"]
    )
    assert rows["layer.weight"]["kind"] == "quantised"
    assert rows["layer.weight"]["bits"] == 4
    # A mask of 0.72 bits and a fifth of four bits, and the coder's table.
    assert 0.7 < rows["layer.weight"]["bits_per_entry"] < 1.6
    assert "layer.weight" in run("inspect", packed)


def test_an_empty_tensor_is_stored_as_it_is(tmp_path: Path) -> None:
    tensors = {"empty": torch.zeros(0, 4), "weight": torch.ones(8, 4)}
    save_file(tensors, tmp_path / "weights.safetensors")

    run("pack", tmp_path / "weights.safetensors", "-o", tmp_path / "packed.amlc", "--bits", 4)
    run("unpack", tmp_path / "packed.amlc", "-o", tmp_path / "again.safetensors")

    again = load_file(tmp_path / "again.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    save_file({"broken": torch.full((2, 2), torch.nan)}, tmp_path / "weights.safetensors")

    with pytest.raises(DataInvalid, match="broken: a weight of shape"):
        run("pack", tmp_path / "weights.safetensors", "-o", tmp_path / "a.amlc", "--bits", 4)


def test_what_no_weight_can_become_is_refused_where_there_is_none(tmp_path: Path) -> None:
    save_file({"bias": torch.ones(4)}, tmp_path / "weights.safetensors")

    with pytest.raises(PolicyInvalid, match="'bias' has weight_bits 9"):
        run("pack", tmp_path / "weights.safetensors", "-o", tmp_path / "a.amlc", "--bits", 9)


def test_what_cannot_be_packed_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"'layer\.weight' has weight_bits 9; choose one of"):
        run("pack", weights, "-o", tmp_path / "packed.amlc", "--bits", 9)
    for quantiser, says in (
        ("binary", "gives weights 1 bit, not 4; 32 leaves them float; 4 bits are given by: scan"),
        ("ternary", "gives weights 2 bits, not 4"),
        ("bit_split", "take 'uniform'"),
        ("beauty", "choose one of: binary, kl"),
    ):
        with pytest.raises(InvalidInput, match=says):
            run(
                *("pack", weights, "-o", tmp_path / "packed.amlc"),
                *("--bits", 4, "--quantiser", quantiser),
            )
    with pytest.raises(DataInvalid, match="AMLCPACK"):
        run("inspect", weights)
    with pytest.raises(ModelInvalid, match="cannot be read"):
        run("inspect", tmp_path / "nowhere.amlc")
    assert not (tmp_path / "packed.amlc").exists()
