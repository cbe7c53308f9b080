"""Which searchers share a study."""

from dataclasses import dataclass

from automl_compress.core.errors import InvalidInput

MOST_MEMBERS = 16


@dataclass(frozen=True, slots=True)
class PortfolioConfig:
    """The knobs of `portfolio`.

    members: searchers of the study, by name, each with its default options; the effort is
        divided evenly among them.
    """

    members: tuple[str, ...] = ("auto", "tpe", "amc")

    def __post_init__(self) -> None:
        """Refuse none, too many, one twice, and a portfolio within a portfolio."""
        is_distinct = len(set(self.members)) == len(self.members)
        if not is_distinct or not 1 <= len(self.members) <= MOST_MEMBERS:
            raise InvalidInput(
                f"members of searcher 'portfolio' are {list(self.members)}; "
                f"name 1 to {MOST_MEMBERS} different searchers"
            )
        if "portfolio" in self.members:
            raise InvalidInput("a portfolio cannot be a member of a portfolio; name its members")
