"""`automl-compress export`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl_api.commands import options
from automl_api.commands.spread import spread

if TYPE_CHECKING:
    from automl_compress.export.formats import Exported

_POLICY_ID = re.compile(r"pol_[0-9a-z]{20}")


@dataclass(frozen=True)
class NetworkFileOptions:
    """The file that the compressed network becomes, and where its weights come from."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where the compressed network goes: .onnx, .xml (OpenVINO), .pt2, .safetensors "
            "with a model card, or .zip, a bundle that runs with ONNX Runtime alone.",
        ),
    ] = None
    wanted: Annotated[
        str | None,
        typer.Option("--format", help="onnx, openvino, pt2, safetensors or bundle."),
    ] = None
    network: Annotated[
        Path | None,
        typer.Option("--network", help="The compressed weights, where SOURCE is a policy.json."),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="The uncut weights, of a policy that was not repaired; or the network, a .pt2 "
            "file, where it is no registered architecture.",
        ),
    ] = None


@spread
def export(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A job, a policy, or the path of a policy.json."),
    ],
    service: options.ServiceOptions,
    file: NetworkFileOptions,
    optuna: Annotated[
        Path | None,
        typer.Option("--optuna", help="Write the job's trials here, a journal file of Optuna."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    is_json: options.Json = False,
) -> None:
    """Write a job's best network for an inference engine, or its trials for optuna-dashboard.

    A network is run in its engine and compared with torch before the file is kept. That of a
    POLICY, the id of a stored one, is written by the service, so no engine is needed here.
    """
    from automl_compress.core.errors import InvalidInput

    if optuna is not None and file.output is None:
        _write_trials(source, service, optuna, force, is_json)
    elif optuna is not None or file.output is None:
        raise InvalidInput(
            "give either -o FILE, for the compressed network, or --optuna FILE, for the trials"
        )
    elif _POLICY_ID.fullmatch(source):
        _fetch(source, service, file, file.output, force, is_json)
    elif Path(source).suffix == ".json" or Path(source).is_file():
        _show(_from_files(Path(source), file, file.output, force), is_json)
    else:
        _show(_from_service(source, service, file, file.output, force), is_json)


def _from_files(policy: Path, file: NetworkFileOptions, output: Path, force: bool) -> "Exported":
    from automl_api.local_export import Weights, export_files
    from automl_compress.core.document import PolicyDocument

    document, weights = PolicyDocument.load(policy), Weights(file.network, file.weights)
    return export_files(document, weights, output, file.wanted, replaces=force)


def _from_service(
    job: str, service: options.ServiceOptions, file: NetworkFileOptions, output: Path, force: bool
) -> "Exported":
    import tempfile

    from automl_api.client import Client
    from automl_api.local_export import Weights, export_files
    from automl_api.sources import PROGRAM_SUFFIX
    from automl_compress.core.errors import InvalidInput
    from automl_compress.export.formats import format_of

    wanted = format_of(output, file.wanted)  # before anything is fetched
    is_program = file.weights is not None and file.weights.suffix == PROGRAM_SUFFIX
    if file.network is not None or (file.weights is not None and not is_program):
        raise InvalidInput(
            f"{job} is no file, so it names a job, whose weights the service has; leave out "
            "--network and --weights, or give the path of a policy.json"
        )
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.safetensors"
        with Client(service.url, service.key) as client:
            found = client.job(job)
            document = found.best()
            found.download_network(document, network)
            report = None
            if wanted == "bundle":
                report = found.save_report(Path(folder) / "report.html").read_bytes()
        weights = Weights(network, file.weights)
        return export_files(document, weights, output, wanted, replaces=force, report=report)


def _fetch(
    policy: str,
    service: options.ServiceOptions,
    file: NetworkFileOptions,
    output: Path,
    force: bool,
    is_json: bool,
) -> None:
    from automl_api.client import Client
    from automl_api.commands.results import print_json
    from automl_compress.core.errors import InvalidInput
    from automl_compress.export.formats import format_of

    wanted = format_of(output, file.wanted)
    if file.network is not None or file.weights is not None:
        raise InvalidInput(
            f"the service has the weights of {policy}; leave --network, --weights out"
        )
    with Client(service.url, service.key) as client:
        found = client.export(policy, wanted)
        files = {output.with_suffix(Path(each["name"]).suffix): each for each in found}
        for path in files:
            if path.exists() and not force:
                raise InvalidInput(f"{path} exists already; give another name, or --force")
        for path, each in files.items():
            client.download(each["id"], path)
    size_bytes = sum(each["size_bytes"] for each in found)
    names = [str(path) for path in files]
    if is_json:
        print_json({"format": wanted, "files": names, "size_bytes": size_bytes})
    else:
        typer.echo(f"wrote {' and '.join(names)}, {size_bytes:,} bytes")


def _show(written: "Exported", is_json: bool) -> None:
    if is_json:
        import json

        typer.echo(json.dumps(written.to_json()))
        return
    content, agreement = written.to_json(), written.agreement
    typer.echo(f"wrote {' and '.join(content['files'])}, {content['size_bytes']:,} bytes")
    if agreement is not None:
        typer.echo(
            f"run by {agreement.engine} {agreement.version} at batches "
            f"{', '.join(map(str, agreement.batches))} it differs from torch by "
            f"{agreement.difference:.1e} of the outputs"
        )
    if written.integer_layers:
        typer.echo(f"{len(written.integer_layers)} layers can be computed in int8")


def _write_trials(
    job: str, service: options.ServiceOptions, path: Path, force: bool, is_json: bool
) -> None:
    from automl_agents.optuna_search.journal import write_journal
    from automl_api.client import Client
    from automl_api.commands.results import print_json
    from automl_api.trial_json import journal_trials

    with Client(service.url, service.key) as client:
        found = client.job(job)
        content, trials = found.content, journal_trials(found.trials())
    attributes = {"job": content["id"], "model": content["model_id"], "study": content["study"]}
    name = f"{content['name']} ({content['id']})"
    count = write_journal(path, name, attributes, trials, replaces=force)
    if is_json:
        print_json({"path": str(path), "study": name, "trials": count})
    else:
        typer.echo(f"wrote {count} trials to {path}; look at them: optuna-dashboard {path}")
