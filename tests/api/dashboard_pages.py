"""What the tests of the pages share."""

from collections.abc import Sequence
from html.parser import HTMLParser

from automl_compress.core import (
    Choice,
    Cost,
    LayerChoice,
    Policy,
    Suggestion,
    Trial,
)
from automl_compress.core import TrialState as State
from automl_compress.store import SqlTrialStore
from tests.api.conftest import RunningService
from tests.fakes import measurement_of

HOSTILE = "<script>alert(1)</script> \u202egnp.exe & \"quoted\" 'twice'"


class Links(HTMLParser):
    """Collects addresses, and everything that a strict content policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name in ("href", "src", "action"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def store_trials(
    service: RunningService,
    job_id: str,
    groups: list[str],
    macs: Sequence[int],
    layers: Sequence[LayerChoice] = (),
) -> None:
    """Store a trial for each of these costs; each scores more than the one before."""
    store = SqlTrialStore(service.database, job_id)
    count = len(macs)
    for number, cost in enumerate(macs):
        sparsity = number / (count + 1)
        policy = Policy(tuple(Choice(group, sparsity) for group in groups), tuple(layers))
        store.asked(Suggestion(number, policy, HOSTILE))
        measurement = measurement_of(Cost(cost, 100, 400, 1024), number / count)
        store.told(Trial(number, policy, State.COMPLETE, measurement, note=HOSTILE))
