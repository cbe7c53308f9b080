"""Images of a data set to look at: taken once, then kept."""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from automl_api.intake import sample_images
from automl_api.problem import Problem
from automl_api.service import Service
from automl_api.sources import DataSource
from automl_compress.store import DatasetRow

# Classes come mixed; so many hold some of each, and decoding all would take minutes.
TRAIN_IMAGES_READ = 2_000

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Sample:
    """One image: its class, its place in the train split, and where a browser finds its PNG."""

    label: int
    place: int
    address: str


def samples(service: Service, row: DatasetRow) -> Sequence[Sample]:
    """Return images of a data set's train split, by rising label.

    The first call reads the data in a child process, which takes seconds; what it found is kept
    in the data directory, as registered data never change.

    Raises:
        Problem: the data cannot be read any more.
    """
    kept = service.files.path_of(f"samples/{row.id}.json")
    with _one_at_a_time:
        if not kept.exists():
            found = _taken(DataSource.from_json(row.source), service.files.directory)
            service.files.write(f"samples/{row.id}.json", [json.dumps(found).encode()])
    images: list[dict[str, Any]] = json.loads(kept.read_bytes())
    return [
        Sample(each["label"], each["place"], f"data:image/png;base64,{each['png']}")
        for each in images
    ]


def _taken(source: DataSource, directory: Path) -> list[dict[str, Any]]:
    limit = source.options.get("max_train_images") or TRAIN_IMAGES_READ
    options = {**source.options, "max_train_images": min(limit, TRAIN_IMAGES_READ)}
    try:
        return sample_images(replace(source, options=options), directory)
    except Problem:  # such as data in the order of their classes: the first are all of one
        return sample_images(source, directory)
