"""What every quantiser must do. Subclass `QuantiserContract` and name one."""

from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from automl_compress.compress.quantisers import QuantisedTensor, Quantiser
from automl_compress.core.errors import DataInvalid, InvalidInput

# Quantisers have no state, so the fixture may be shared by all examples.
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
SMALLEST = 2.0**-40  # nearer to zero, float32 products underflow


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any finite weight: some zeros, equal entries, large and tiny numbers."""
    shape = draw(st.sampled_from([(1,), (3,), (2, 4), (3, 1, 3, 3), (1, 8), (4, 20)]))
    magnitudes = st.floats(SMALLEST, 2.0**40, width=32)
    number = st.one_of(
        st.just(0.0), st.sampled_from([-1.0, 1.0, 0.5]), magnitudes, magnitudes.map(lambda x: -x)
    )
    return torch.from_numpy(draw(arrays.arrays("float32", shape, elements=number)))


def weights(*shape: int) -> Tensor:
    """Normal weights, each output channel with its own spread, as trained layers have."""
    generator = torch.Generator().manual_seed(11)
    spread = torch.rand(shape[0], *[1] * (len(shape) - 1), generator=generator) + 0.5
    return torch.randn(*shape, generator=generator) * spread * 0.05


def heavy_tailed(seed: int) -> Tensor:
    """(3, 40) with entries far from the rest, which is where a local optimum traps a search."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 40, generator=generator) * torch.rand(3, 40, generator=generator) ** -1.5


def error(tensor: Tensor, quantised: QuantisedTensor) -> float:
    return float((tensor.double() - quantised.dequantise().double()).square().sum())


class QuantiserContract:
    """Run on every quantiser; `quantiser` is a fixture of the subclass."""

    def bits_for(self, quantiser: Quantiser, tensor: Tensor, axis: int | None) -> list[int]:
        """The widths to try: a codebook may not be larger than what it stands for."""
        entries = tensor.numel() if axis is None else tensor.numel() // tensor.shape[axis]
        needs_room = quantiser.name == "kmeans"
        # 16 bits are tried on weights below; here they would take most of the time.
        return [b for b in quantiser.bit_widths if b <= 8 and (not needs_room or 2**b <= entries)]

    @quick
    @given(tensor=tensors(), axis=st.sampled_from([None, 0]))
    def test_codes_are_in_range_decoding_them_is_idempotent_and_zero_stays_zero(
        self, quantiser: Quantiser, tensor: Tensor, axis: int | None
    ) -> None:
        for bits in self.bits_for(quantiser, tensor, axis):
            found = quantiser.fit(tensor, bits, axis)

            values = found.dequantise()

            assert found.codes.shape == tensor.shape
            assert found.codes.dtype == torch.int32
            assert int(found.codes.min()) >= found.grid.lowest
            assert int(found.codes.max()) <= found.grid.highest
            assert bool(torch.isfinite(values).all())
            assert torch.equal(found.grid.encode(values), found.codes)
            assert torch.equal(found.grid.decode(found.grid.encode(values)), values)
            if quantiser.name != "binary":  # the one grid without a zero
                assert bool((values[tensor == 0] == 0).all())

    @quick
    @given(tensor=tensors())
    def test_error_grows_neither_with_bits_nor_with_channels_of_their_own_where_that_is_claimed(
        self, quantiser: Quantiser, tensor: Tensor
    ) -> None:
        if quantiser.minimises_error:
            self.check_claims(quantiser, tensor)

    def check_claims(self, quantiser: Quantiser, tensor: Tensor) -> None:
        """More bits, or a grid for each channel, never make a larger error."""
        widths = self.bits_for(quantiser, tensor, 0)
        whole, channels = (
            [error(tensor, quantiser.fit(tensor, bits, axis)) for bits in widths]
            for axis in (None, 0)
        )
        allowance = 1e-12 * float(tensor.double().square().sum())  # scales are float32
        for one, each in zip(whole, channels, strict=True):
            assert each <= one + allowance
        for errors in (whole, channels):
            assert all(later <= sooner + allowance for sooner, later in pairwise(errors))

    def test_heavy_tails_break_neither_claim(self, quantiser: Quantiser) -> None:
        if not quantiser.minimises_error:
            return
        for tensor in map(heavy_tailed, range(3)):
            self.check_claims(quantiser, tensor)

    @pytest.mark.parametrize("axis", [None, 0])
    def test_error_on_weights_falls_as_bits_grow(
        self, quantiser: Quantiser, axis: int | None
    ) -> None:
        tensor = weights(8, 16, 5, 5)

        errors = [error(tensor, quantiser.fit(tensor, bits, axis)) for bits in quantiser.bit_widths]

        assert errors == sorted(errors, reverse=True)
        assert errors[0] < float(tensor.double().square().sum())

    def test_scaling_the_tensor_scales_the_values(self, quantiser: Quantiser) -> None:
        tensor, bits = weights(4, 300), quantiser.bit_widths[-1]

        small, large = quantiser.fit(tensor, bits, 0), quantiser.fit(tensor * 1024, bits, 0)

        assert torch.equal(small.codes, large.codes)
        assert torch.allclose(small.dequantise() * 1024, large.dequantise(), rtol=1e-6)

    def test_negating_the_tensor_negates_the_values(self, quantiser: Quantiser) -> None:
        tensor, bits = weights(4, 300), quantiser.bit_widths[0]

        there, back = quantiser.fit(tensor, bits, 0), quantiser.fit(-tensor, bits, 0)

        assert torch.allclose(there.dequantise(), -back.dequantise(), rtol=1e-6)

    def test_channels_of_another_axis_are_fitted_alike(self, quantiser: Quantiser) -> None:
        tensor, bits = weights(4, 20, 15), min(8, quantiser.bit_widths[-1])

        first = quantiser.fit(tensor, bits, 0)
        second = quantiser.fit(tensor.movedim(0, 1).contiguous(), bits, 1)

        assert torch.equal(first.codes, second.codes.movedim(1, 0))
        assert torch.equal(first.dequantise(), second.dequantise().movedim(1, 0))

    def test_the_same_call_gives_the_same_codes_and_leaves_the_tensor(
        self, quantiser: Quantiser
    ) -> None:
        tensor, bits = weights(4, 300), quantiser.bit_widths[-1]
        before = tensor.clone()

        first, second = quantiser.fit(tensor, bits, 0), quantiser.fit(tensor, bits, 0)

        assert torch.equal(first.codes, second.codes)
        assert torch.equal(first.grid.values, second.grid.values)
        assert torch.equal(tensor, before)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_every_floating_point_type_is_taken(
        self, quantiser: Quantiser, dtype: torch.dtype
    ) -> None:
        tensor, bits = weights(4, 300).to(dtype), quantiser.bit_widths[0]

        found = quantiser.fit(tensor, bits, 0)

        assert found.dequantise().dtype == torch.float32
        assert torch.equal(found.codes, quantiser.fit(tensor.double(), bits, 0).codes)

    def test_a_constant_tensor_is_kept(self, quantiser: Quantiser) -> None:
        tensor = torch.full((2, 300), 0.37)
        for bits in quantiser.bit_widths:
            found = quantiser.fit(tensor, bits, 0).dequantise()
            # Bounded by the steps of the grid, were it placed badly; in fact it is exact.
            assert torch.allclose(found, tensor, rtol=1e-5)

    def test_a_tensor_of_zeros_stays_zero(self, quantiser: Quantiser) -> None:
        for bits in quantiser.bit_widths:
            found = quantiser.fit(torch.zeros(2, 300), bits, 0).dequantise()
            assert torch.equal(found, torch.zeros(2, 300))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_a_tensor_that_is_not_finite_is_refused(self, quantiser: Quantiser, bad: float) -> None:
        tensor = weights(4, 300)
        tensor[1, 2] = bad

        with pytest.raises(DataInvalid, match="NaN or infinity"):
            quantiser.fit(tensor, quantiser.bit_widths[0])

    def test_an_empty_tensor_is_refused(self, quantiser: Quantiser) -> None:
        with pytest.raises(DataInvalid, match="0 entries"):
            quantiser.fit(torch.zeros(0, 3), quantiser.bit_widths[0], 0)

    def test_integers_are_refused(self, quantiser: Quantiser) -> None:
        with pytest.raises(DataInvalid, match="int64"):
            quantiser.fit(torch.arange(300), quantiser.bit_widths[0])

    @pytest.mark.parametrize("bits", [0, -1, 9, 32])
    def test_bits_that_it_does_not_have_are_refused(self, quantiser: Quantiser, bits: int) -> None:
        with pytest.raises(InvalidInput, match="give one of"):
            quantiser.fit(weights(4, 300), bits)

    @pytest.mark.parametrize("axis", [-1, 2])
    def test_an_axis_that_the_tensor_does_not_have_is_refused(
        self, quantiser: Quantiser, axis: int
    ) -> None:
        with pytest.raises(InvalidInput, match="axis"):
            quantiser.fit(weights(4, 300), quantiser.bit_widths[0], axis)

    def test_stored_bits_count_codes_and_what_decodes_them(self, quantiser: Quantiser) -> None:
        for bits in quantiser.bit_widths:
            found = quantiser.fit(weights(4, 300), bits, 0)
            values = 2**bits if quantiser.name == "kmeans" else 1
            assert found.stored_bits == 4 * 300 * bits + 4 * values * 32
