"""`automl-compress pack`, `inspect` and `unpack`: networks at the size of their information."""

from pathlib import Path
from typing import Annotated, Any

import typer

from automl_api.commands import options

PackedArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A packed file (.amlc).")]


def pack(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="A safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed file (.amlc).")],
    bits: Annotated[int, typer.Option(help="Of each weight: 1 to 8, 16; 32 loses nothing.")] = 32,
    sparsity: Annotated[float, typer.Option(help="Fraction of weights that become zero.")] = 0.0,
    quantiser: Annotated[str, typer.Option(help="How the weights' values are found.")] = "scan",
    weight_scales: Annotated[
        str, typer.Option(help="channel, one for each output, or tensor, one.")
    ] = "channel",
    is_json: options.Json = False,
) -> None:
    """Pack weights with an entropy coder, quantised or sparse if so wanted."""
    from automl_api.local_pack import PackRequest, pack_file

    written = pack_file(PackRequest(weights, output, bits, sparsity, quantiser, weight_scales))
    if is_json:
        _print(written)
        return
    before, after = written["size_bytes"]["before"], written["size_bytes"]["after"]
    typer.echo(
        f"wrote {output}: {after:,} of {before:,} bytes, {before / max(after, 1):.1f}x smaller"
    )


def inspect(file: PackedArgument, is_json: options.Json = False) -> None:
    """Say what a packed file holds and where its bytes go."""
    from automl_api.local_pack import inspect_file

    found = inspect_file(file)
    if is_json:
        _print(found)
        return
    typer.echo(f"{'tensor':40} {'kind':10} {'shape':20} {'bits':>4} {'coded':>6} {'bytes':>10}")
    for row in found["tensors"]:
        shape = "x".join(map(str, row["shape"])) or "-"
        bits = "" if row["bits"] is None else str(row["bits"])
        coded = "" if row["bits_per_entry"] is None else f"{row['bits_per_entry']:.2f}"
        typer.echo(
            f"{row['name']:40} {row['kind']:10} {shape:20} {bits:>4} {coded:>6} "
            f"{row['size_bytes']:>10,}"
        )
    typer.echo(f"{'names, shapes, checksum':84} {found['directory_bytes']:>10,}")
    typer.echo(f"{'the whole file':84} {found['size_bytes']:>10,}")


def unpack(
    file: PackedArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The safetensors file.")],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="Its policy.json: fills in the norms that were folded."),
    ] = None,
    is_json: options.Json = False,
) -> None:
    """Write a packed file's tensors as safetensors."""
    from automl_api.local_pack import unpack_file

    written = unpack_file(file, output, policy)
    if is_json:
        _print(written)
        return
    typer.echo(f"wrote {output}: {written['tensors']} tensors")


def _print(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(content))
