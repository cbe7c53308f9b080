"""No search: the ratios and bits that the MicroNet Challenge's winners set by hand."""

from bisect import bisect_left

from automl_agents.allocation.config import MicroNetConfig
from automl_agents.allocation.profiled import ProfiledCandidates
from automl_compress.core import CompressionSpace, SearchProblem, Snapshot, Suggestion, Trial
from automl_compress.core.decision import WHOLE_DENSITY, Decision


class MicroNetSearcher:
    """Asks for one policy, the winners', then profiles every decision alone.

    The profile decides nothing; it comes second so that no effort is too small for the policy.
    After that the policy is asked for again and again. Where the budget does not allow that
    policy, all of its shares are scaled down together.

    Source: the CASIA/RIAIR entry to the MicroNet Challenge 2019 (CIFAR-100): sensitivities of
    single layers, from which people chose 75 % of the weights of every convolution and half of
    those of the last layer; 4 bits for weights and inputs, 6 for the last layer's weights, and
    float inputs of the first and the last layer.
    """

    def __init__(self, problem: SearchProblem, config: MicroNetConfig) -> None:
        """Plan the profile, and find the policy.

        Raises:
            BudgetUnreachable: no policy of the space is within the budget.
        """
        space = problem.space
        space.check_reachable(problem.budget)
        self._state = ProfiledCandidates(problem, config, problem.effort.evaluations - 1.0)
        shares = space.shares(hand_set(space, config))
        setting = space.repair(shares.tolist(), problem.budget)
        self._state.candidates.add(setting, "the winners' ratios and bits")

    def ask(self) -> Suggestion:
        """Propose the policy, then the next probe."""
        if self._state.candidates.has_new or self._state.profile.is_asked:
            return self._state.candidate()
        return self._state.probe()

    def tell(self, trial: Trial) -> None:
        """Take note of a trial.

        Raises:
            TrialMismatch: the trial was never asked for, or told before.
        """
        self._state.tell(trial)

    def snapshot(self) -> Snapshot:
        """Return profile, candidate and counts."""
        return Snapshot(self._state.to_json())

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        self._state.restore(snapshot.values)


def hand_set(space: CompressionSpace, config: MicroNetConfig) -> tuple[int, ...]:
    """Return the setting that is nearest to the winners', whatever it costs.

    Widths stay whole. Of two allowed values equally near the larger is taken.
    """
    layers = [layer for layer in space.graph.layers if layer.kind != "other"]
    first, last = layers[0].name, layers[-1].name

    def wanted(decision: Decision) -> float:
        if decision.kind == "width":
            return decision.full
        if decision.kind == "density":
            sparsity = config.last_sparsity if decision.target == last else config.sparsity
            return WHOLE_DENSITY * (1.0 - sparsity)
        if decision.kind == "weight_bits":
            return config.last_weight_bits if decision.target == last else config.weight_bits
        return decision.full if decision.target in (first, last) else config.activation_bits

    return tuple(_nearest(each.allowed, wanted(each)) for each in space.decisions)


def _nearest(allowed: tuple[int, ...], value: float) -> int:
    place = bisect_left(allowed, value)
    around = allowed[max(place - 1, 0) : place + 1]
    return min(around, key=lambda each: (abs(each - value), -each))
