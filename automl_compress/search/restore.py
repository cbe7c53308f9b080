"""Brings a fresh searcher to where an interrupted study was."""

from automl_compress.core import Asked, Searcher, Suggestion, TrialState, TrialStore
from automl_compress.core.errors import WrongState


def restore_searcher(searcher: Searcher, store: TrialStore) -> list[Suggestion]:
    """Fill a fresh searcher from the store; a store without events changes nothing.

    The latest snapshot comes first, then the asks and tells since, in their order. An ask is
    repeated and must give the stored policy again.

    Returns:
        The suggestions that were asked but not told, by number: they are to be evaluated
        again under their numbers.

    Raises:
        WrongState: the searcher does not ask what it asked before, because its version,
            options, seed, space or budget differ.
    """
    snapshot, events = store.history()
    if snapshot is not None:
        searcher.restore(snapshot)
    for event in events:
        if isinstance(event, Asked):
            _repeat(searcher, event.suggestion)
        else:
            searcher.tell(event.trial)
    return [trial.suggestion for trial in store.trials() if trial.state is TrialState.RUNNING]


def _repeat(searcher: Searcher, stored: Suggestion) -> None:
    repeated = searcher.ask()
    if _essence(repeated) != _essence(stored):
        raise WrongState(
            f"restored, the searcher asks trial {repeated.number} with another policy than the "
            f"stored trial {stored.number}; a study goes on only under the searcher version, "
            "options, seed, space and budget that it began with; start a new study instead"
        )


def _essence(suggestion: Suggestion) -> tuple[object, ...]:
    return suggestion.number, suggestion.policy, suggestion.role, suggestion.images
