"""What the client sends and fetches: files and artifacts."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from automl_api.local_convert import without_pickle
from automl_api.transfers import chunks_of, receive, sha256_of
from automl_api.transport import Json, Transport
from automl_compress.core.errors import InvalidInput, StorageFailed
from automl_compress.whole_files import write_whole


class FileCalls:
    """The part of the client that is about files and artifacts."""

    _transport: Transport

    def upload(self, path: str | Path) -> Json:
        """Upload a safetensors, pt2, npz, parquet or zip file; equal content: the same file.

        A state dict that `torch.save` wrote goes as safetensors: no pickle leaves this machine.

        Raises:
            InvalidInput: there is no such file.
            ModelInvalid: it is pickled, and holds more than tensors.
        """
        if not Path(path).is_file():
            raise InvalidInput(f"there is no file {path}; give the path of a file to upload")
        with without_pickle(Path(path)) as file:
            digest = sha256_of(file)
            return self._transport.send("/v1/files", chunks_of(file), digest, name=file.name)

    def files(self, *, sha256: str | None = None) -> Iterator[Json]:
        """Yield every uploaded file, the newest first; of this content alone."""
        return self._transport.pages("/v1/files", sha256=sha256)

    def artifact(self, identity: str) -> Json:
        """Return what is known of one artifact."""
        return self._transport.get(f"/v1/artifacts/{identity}")

    def download(self, artifact_id: str, path: str | Path) -> Path:
        """Write an artifact's content to a file, whole or not at all.

        Where the connection breaks, it goes on behind what has arrived.

        Raises:
            StorageFailed: the disk did not take it, or it arrived damaged.
        """
        target, told = Path(path), self.artifact(artifact_id)
        place = f"/v1/artifacts/{artifact_id}/content"
        try:
            return receive(
                target,
                lambda start: self._transport.download(place, start, told["sha256"]),
                told["size_bytes"],
                told["sha256"],
            )
        except OSError as error:
            raise StorageFailed(f"{target} cannot be written: {error}") from error

    def save(self, path: str, file: str | Path) -> Path:
        """Write what stands at any path of the service to a file, whole or not at all.

        Raises:
            StorageFailed: the disk did not take it, or the connection broke.
        """
        try:
            write_whole(Path(file), self._transport.download(path, 0, ""))
        except OSError as error:
            raise StorageFailed(f"{file} cannot be written: {error}") from error
        return Path(file)

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines of any text of the service."""
        text = codecs.iterdecode(self._transport.download(path, 0, ""), "utf-8")
        left = ""
        for part in text:
            *whole, left = (left + part).split("\n")
            yield from whole
        if left:
            yield left
