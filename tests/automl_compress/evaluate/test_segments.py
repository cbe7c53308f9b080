import pytest
import torch
from torch import Tensor

from automl_compress.evaluate.bank import ParameterBank
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.program import Program, compile_program
from automl_compress.evaluate.segments import PrefixCache
from automl_compress.networks.architectures import build_network
from automl_compress.networks.trace import Network, trace
from automl_compress.train.randomness import seeded


class Counting:
    """A network's program, its prefix cache, and how often each segment ran."""

    def __init__(self, name: str) -> None:
        with seeded(0):
            self.network: Network = trace(build_network(name), (3, 32, 32))
            self.batches = [torch.randn(2, 3, 32, 32) for _ in range(2)]
        self.program: Program = compile_program(self.network)
        self.bank = ParameterBank(self.network, self.program)
        self.cache = PrefixCache(self.program, self.network.plan)
        self.runs = 0
        for segment in self.cache._segments:
            forward = segment.module.forward
            segment.module.forward = self._counted(forward)

    def _counted(self, forward):
        def run(*arguments: Tensor) -> Tensor:
            self.runs += 1
            return forward(*arguments)

        return run

    def check(self, kept: list[Tensor]) -> int:
        """Compare with the whole program; return how many segments ran."""
        tensors = self.bank.bind(Candidate(kept))
        self.runs = 0
        with torch.inference_mode():
            found = self.cache.logits(Candidate(kept), tensors, self.batches)
            expected = torch.cat([self.program(images, tensors) for images in self.batches])
        assert torch.equal(found, expected)
        return self.runs


@pytest.fixture(scope="module", params=["resnet-20", "mobilenet-v2", "squeezenet"])
def counting(request: pytest.FixtureRequest) -> Counting:
    return Counting(request.param)


def with_group(counting: Counting, group: int, width: int) -> list[Tensor]:
    kept = [torch.arange(channels) for channels in counting.network.plan.channels]
    kept[group] = torch.arange(width)
    return kept


def test_changing_the_last_group_runs_only_what_follows_it(counting: Counting) -> None:
    last = len(counting.network.plan.channels) - 1

    runs = [counting.check(with_group(counting, last, width)) for width in (8, 9, 10, 11)]

    assert runs[0] == runs[1] == 2 * len(counting.cache._segments)
    assert runs[3] < runs[0]


def test_changing_the_first_group_each_time_runs_everything_and_keeps_nothing(
    counting: Counting,
) -> None:
    counting.batches = list(counting.batches)  # another list: what earlier tests left is forgotten

    runs = [counting.check(with_group(counting, 0, width)) for width in (3, 4, 5, 6)]

    assert runs == [2 * len(counting.cache._segments)] * 4
    assert all(prefix.key is None for prefix in counting.cache._prefixes)


def test_any_order_of_candidates_gives_the_whole_programs_logits(counting: Counting) -> None:
    generator = torch.Generator().manual_seed(1)
    groups = len(counting.network.plan.channels)

    for _ in range(12):
        group = int(torch.randint(groups, (1,), generator=generator))
        channels = counting.network.plan.channels[group]
        width = int(torch.randint(1, channels + 1, (1,), generator=generator))
        counting.check(with_group(counting, group, width))


def test_other_batches_forget_the_prefixes(counting: Counting) -> None:
    last = len(counting.network.plan.channels) - 1
    for width in (8, 9, 10):
        counting.check(with_group(counting, last, width))
    counting.batches = [batch + 1 for batch in counting.batches]

    assert counting.check(with_group(counting, last, 8)) == 2 * len(counting.cache._segments)
