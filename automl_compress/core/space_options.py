"""What of a network a search may decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from automl_compress.core.errors import InvalidInput
from automl_compress.core.weight_grids import BIT_WIDTHS, SHARING, WeightScales, obstacle

SparsityScheme = Literal["channel", "element"]


@dataclass(frozen=True, slots=True)
class SpaceOptions:
    """How a space is cut out of a graph.

    max_sparsity: the largest fraction of a group that may be removed, in [0, 1).
    round_to: kept channels are multiples of this, or the whole group; 1, 2, 4, 8 or 16.
    skip: groups that stay whole and layers that stay float, by name.
    fix: sparsity of groups that are not searched, by name.
    schemes: `channel` removes channels, `element` single weights; both, or one.
    weight_bits, activation_bits: what layers may get, ascending; empty leaves all float.
    edge_bits: bits of the first and the last layer, where bits are searched; None searches
        theirs as well.
    quantiser: how the weights' values are found; of `core.weight_grids.QUANTISER_BITS`.
    weight_scales: `channel`, one for each output channel, or `tensor`, one for a layer.
    max_element_sparsity: the largest fraction of a layer's weights that may become zero.
    density_step: percent between two densities of a layer.
    """

    max_sparsity: float = 0.9
    round_to: int = 1
    skip: tuple[str, ...] = ()
    fix: tuple[tuple[str, float], ...] = ()
    criterion: str = "l1"
    schemes: tuple[SparsityScheme, ...] = ("channel",)
    weight_bits: tuple[int, ...] = ()
    activation_bits: tuple[int, ...] = ()
    edge_bits: int | None = 8
    quantiser: str = "scan"
    max_element_sparsity: float = 0.95
    density_step: int = 5
    weight_scales: WeightScales = "channel"

    def __post_init__(self) -> None:
        """Refuse values outside their ranges; raises InvalidInput, UnknownName."""
        for name in ("max_sparsity", "max_element_sparsity"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)!r}; give a number from 0 to below 1"
                )
        if self.round_to not in (1, 2, 4, 8, 16):
            raise InvalidInput(f"round_to is {self.round_to!r}; choose 1, 2, 4, 8 or 16")
        if not 1 <= self.density_step <= 50:
            raise InvalidInput(f"density_step is {self.density_step!r}; give 1 to 50 percent")
        self._check_schemes()
        self._check_groups()
        for name in ("weight_bits", "activation_bits"):
            _check_bits(name, getattr(self, name))
        if self.edge_bits is not None:
            _check_bits("edge_bits", (self.edge_bits,))
        self._check_quantiser()
        if "element" in self.schemes and 1 in (*self.weight_bits, self.edge_bits):
            raise InvalidInput(
                "weights may become zero (scheme 'element') and get one bit, which has no code for "
                "zero; leave one of the two out"
            )

    @property
    def has_layer_decisions(self) -> bool:
        """Whether anything is decided for single layers."""
        return "element" in self.schemes or bool(self.weight_bits or self.activation_bits)

    @property
    def has_codebooks(self) -> bool:
        """Whether quantised weights may have codebooks in the place of scales."""
        return self.quantiser == SHARING and bool(self.weight_bits)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SpaceOptions":
        """Read a JSON object; raises InvalidInput for values, TypeError for unknown fields."""
        rest = dict(content)
        for name in ("skip", "schemes", "weight_bits", "activation_bits"):
            if name in rest:
                rest[name] = tuple(rest[name])
        rest["fix"] = tuple(sorted(dict(rest.get("fix", {})).items()))
        return cls(**rest)

    def _check_groups(self) -> None:
        skipped = set(self.skip)
        both = [name for name, _ in self.fix if name in skipped]
        if both:
            raise InvalidInput(
                f"{both} are to stay whole (skip) and to lose a given share (fix); leave one out"
            )

    def _check_quantiser(self) -> None:
        unable = obstacle(self.quantiser, self.weight_bits, self.weight_scales)
        if unable is not None:
            raise InvalidInput(f"weight_bits is {list(self.weight_bits)}: {unable}")
        if not self.weight_bits or self.edge_bits is None:
            return
        unable = obstacle(self.quantiser, (self.edge_bits,), self.weight_scales)
        if unable is not None:
            raise InvalidInput(
                f"edge_bits, of the first and the last layer, is {self.edge_bits}: {unable}; set "
                "edge_bits to 32 to leave both float, or to None to search theirs as well"
            )

    def _check_schemes(self) -> None:
        known = get_args(SparsityScheme)
        wrong = [scheme for scheme in self.schemes if scheme not in known]
        if wrong or len(set(self.schemes)) != len(self.schemes):
            raise InvalidInput(
                f"schemes are {list(self.schemes)}; name each once, out of: {', '.join(known)}"
            )


def _check_bits(name: str, bits: Sequence[int]) -> None:
    if any(each not in BIT_WIDTHS for each in bits) or sorted(set(bits)) != list(bits):
        raise InvalidInput(
            f"{name} is {list(bits)}; give ascending numbers out of: "
            f"{', '.join(map(str, BIT_WIDTHS))}"
        )
