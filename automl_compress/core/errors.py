"""Every error that this project raises on purpose.

AutomlCompressError
├── InvalidInput (ValueError)          a value, file or document that is not what it should be
│   ├── UnknownName (LookupError)      no searcher, criterion, architecture ... of this name
│   ├── DataInvalid                    empty, corrupt or unfit data
│   ├── ModelInvalid                   a network that cannot be used as it is
│   │   ├── WeightsMismatch            weights of another architecture, or not finite
│   │   └── OperatorsRefused           nodes of a program that no reader of ours takes
│   ├── PolicyInvalid                  a policy document that cannot be read
│   │   └── PolicyMismatch             a policy made for another graph
│   ├── TableMismatch                  a latency table that was not measured for this network
│   ├── BudgetUnreachable              no policy of this space is that small
│   └── KeyReused                      an idempotency key that another request had
├── FloorMissed                        no policy that was measured reaches the accuracy floor
├── WrongState (RuntimeError)          the call is legal, but not now
│   ├── TrialMismatch                  a trial told twice, or never asked
│   ├── InUse                          what others refer to cannot be deleted
│   └── JobTaken                       who calls no longer owns the job that it would write
├── NotFound (LookupError)             no job, model, file ... of this id
├── ClusterFailed (ConnectionError)    the cluster that should evaluate cannot be used
└── StorageFailed (OSError)            the disk or the database did not take it
    └── DatabaseAway                   the database does not answer now, or is too busy

What only a client meets (the service said no, is not there, or took too long) hangs below the
root in `automl_api`.

Each message has three parts: what came, what is allowed, what to do.
"""

from collections.abc import Mapping


class AutomlCompressError(Exception):
    """Root of the tree: catch it to catch everything raised on purpose."""


class InvalidInput(AutomlCompressError, ValueError):
    """A value, file or document is not what it should be."""


class UnknownName(InvalidInput, LookupError):
    """No searcher, criterion, architecture, data set ... goes by this name."""

    def __init__(self, kind: str, name: str, known: object) -> None:
        """Say what `kind` of thing was looked for, under which `name`, and which are `known`."""
        self.kind, self.name = kind, name
        names = sorted(str(each) for each in known)  # type: ignore[attr-defined]
        super().__init__(f"no {kind} is called {name!r}; choose one of: {', '.join(names)}")


class DataInvalid(InvalidInput):
    """Data are empty, corrupt, or do not fit the network."""


class ModelInvalid(InvalidInput):
    """A network cannot be used as it is."""


class WeightsMismatch(ModelInvalid):
    """Weights belong to another architecture, or hold NaN or infinity."""


class OperatorsRefused(ModelInvalid):
    """A program has nodes whose operators are not taken.

    Attributes:
        nodes: by the JSON pointer of each such node, what it is and where it comes from.
    """

    def __init__(self, nodes: Mapping[str, str], of: int, shown: int = 5) -> None:
        """Name the first of the refused `nodes`; the program has `of` in all."""
        self.nodes = dict(nodes)
        first = "; ".join(list(self.nodes.values())[:shown])
        more = f"; and {len(nodes) - shown} more" if len(nodes) > shown else ""
        super().__init__(
            f"{len(nodes)} of {of} nodes use operators that are not taken: {first}{more}. Write "
            "these parts with other operators, or leave them outside of the exported module"
        )


class PolicyInvalid(InvalidInput):
    """A policy document cannot be read."""


class PolicyMismatch(PolicyInvalid):
    """A policy was made for another graph."""


class TableMismatch(InvalidInput):
    """A latency table was not measured for this network: no time can be predicted by it."""


class BudgetUnreachable(InvalidInput):
    """No policy of the space costs as little as the budget asks.

    Attributes:
        metric: the cost that is limited, `macs` for instance.
        limit: what the budget allows, in the metric's unit.
        smallest: what the cheapest policy of the space costs, in the same unit.
    """

    def __init__(
        self, metric: str, limit: float, smallest: float, full: float, of_a_call: float = 0.0
    ) -> None:
        """Say how far the `limit` lies below the `smallest` reachable cost.

        of_a_call: what every network costs, whatever it is.
        """
        self.metric, self.limit, self.smallest = metric, limit, smallest
        advice = "Raise the budget, allow a higher maximum sparsity, or skip fewer layers"
        if limit <= of_a_call:
            advice = (
                f"Of that, {of_a_call:,.0f} is the price of a call of any network, which no policy "
                "lowers: raise the budget, or put more images into a call (latency_batch)"
            )
        super().__init__(
            f"the budget is {limit:,.0f} {metric} ({limit / full:.1%} of the uncut network); the "
            f"smallest policy of this space needs {smallest:,.0f} ({smallest / full:.1%}). {advice}"
        )


class KeyReused(InvalidInput):
    """An idempotency key was sent with another request before."""


class FloorMissed(AutomlCompressError):
    """No policy that a study measured reaches its accuracy floor."""


class WrongState(AutomlCompressError, RuntimeError):
    """The call is legal, but not in this state."""


class TrialMismatch(WrongState):
    """A trial was told twice, or was never asked for."""


class InUse(WrongState):
    """Something cannot be deleted, since others are made of it."""


class JobTaken(WrongState):
    """The caller may not write the job: another execution owns it, or its user stopped it."""


class NotFound(AutomlCompressError, LookupError):
    """No job, model, data set, file, policy or artifact has this id."""


class ClusterFailed(AutomlCompressError, ConnectionError):
    """The cluster cannot be reached, lacks the package, or has nothing that could evaluate."""


class StorageFailed(AutomlCompressError, OSError):
    """The disk or the database did not take what was written; nothing was half stored."""


class DatabaseAway(StorageFailed):
    """The database does not answer now, or is too busy: the same may succeed in a while."""
