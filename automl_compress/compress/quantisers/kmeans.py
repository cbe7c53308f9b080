"""Shared weights: the values of a codebook that k-means finds."""

from typing import ClassVar

import torch
from torch import Tensor

from automl_compress.compress.quantisers.grid import Grid, QuantisedTensor, quantise_rows
from automl_compress.compress.quantisers.quantiser import Quantiser
from automl_compress.compress.quantisers.sorted_rows import Intervals, SortedRows
from automl_compress.core.errors import InvalidInput

_ROUNDS = 60


class KMeans(Quantiser):
    """2^b values of their own for each channel, or for the tensor.

    Centroids start evenly spaced between the smallest and the largest entry. Where a tensor
    holds exact zeros, as pruned ones do, one centroid stays at zero.

    Source: Han et al., "Deep Compression", ICLR 2016, section 3. Beside their start, a codebook
    of half the size with one more value in each cluster is tried, and the one of the whole
    tensor, so that the error can grow neither with bits nor with channels; an empty cluster
    moves to the worst one.
    """

    name: ClassVar[str] = "kmeans"
    bit_widths: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6, 7, 8)

    def _fit_rows(self, rows: Tensor, bits: int) -> QuantisedTensor:
        if rows.shape[1] < 2**bits:
            raise InvalidInput(
                f"a codebook of {2**bits} values is larger than the {rows.shape[1]} entries that "
                "share it; give fewer bits, or one codebook for the whole tensor"
            )
        has_zero = bool((rows == 0).any())
        starts = []
        if len(rows) > 1:
            whole = _centroids(rows.reshape(1, -1), bits, has_zero, [])
            starts = [whole.expand(len(rows), -1)]
        values = _centroids(rows, bits, has_zero, starts)
        return quantise_rows(rows, Grid("codebook", bits, values.float(), 0))


def _centroids(rows: Tensor, bits: int, has_zero: bool, starts: list[Tensor]) -> Tensor:
    """Return ascending centroids (C, 2^b)."""
    data = SortedRows(rows)
    found = _lloyd(data, _linear(rows, 2, has_zero), has_zero)
    for width in range(2, bits + 1):
        refined = torch.cat([found, _farthest(data, found)], dim=1).sort(dim=1).values
        tried = [_linear(rows, 2**width, has_zero), refined]
        found = _lloyd(data, _best(data, tried), has_zero)
    if starts:
        found = _lloyd(data, _best(data, [found, *starts]), has_zero)
    return found


def _linear(rows: Tensor, count: int, has_zero: bool) -> Tensor:
    """Space centroids evenly between the ends of each row; one of them is zero if asked for."""
    low, high = torch.aminmax(rows, dim=1, keepdim=True)
    steps = torch.linspace(0, 1, count, dtype=rows.dtype, device=rows.device)
    spaced = low + (high - low) * steps
    if has_zero:
        nearest = spaced.abs().argmin(1, keepdim=True)
        spaced = spaced.scatter(1, nearest, 0.0).sort(dim=1).values
    return spaced


def _lloyd(data: SortedRows, centroids: Tensor, has_zero: bool) -> Tensor:
    for _ in range(_ROUNDS):
        within = data.intervals(_borders(centroids))
        stays = within.counts == 0
        if has_zero:
            stays = stays | (centroids == 0)
        means = torch.where(stays, centroids, within.sums / within.counts.clamp_min(1))
        moved = _reseeded(data, means, within).sort(dim=1).values
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _reseeded(data: SortedRows, means: Tensor, within: Intervals) -> Tensor:
    """Move one empty cluster of each row to the farthest entry of the row's worst cluster."""
    spread = within.squares - 2 * means * within.sums + means.square() * within.counts
    worst = spread.argmax(1, keepdim=True)
    empty = (within.counts == 0).to(torch.int64)
    first = empty.argmax(1, keepdim=True)
    target = _farthest(data, means).gather(1, worst)
    needed = empty.gather(1, first).bool() & (spread.gather(1, worst) > 0)
    return means.scatter(1, first, torch.where(needed, target, means.gather(1, first)))


def _farthest(data: SortedRows, centroids: Tensor) -> Tensor:
    """Return of each cluster the entry farthest from its centroid; the centroid if it is empty."""
    places = data.places(_borders(centroids))
    last = data.values.shape[1] - 1
    low = data.values.gather(1, places[:, :-1].clamp_max(last))
    high = data.values.gather(1, (places[:, 1:] - 1).clamp_min(0))
    farther = torch.where((centroids - low).abs() > (centroids - high).abs(), low, high)
    return torch.where(places.diff(dim=1) > 0, farther, centroids)


def _best(data: SortedRows, tried: list[Tensor]) -> Tensor:
    """Choose for each row the candidate of the smallest error."""
    errors = torch.stack([data.intervals(_borders(each)).error(each) for each in tried])
    rows = torch.arange(len(data.values), device=data.values.device)
    return torch.stack(tried)[errors.argmin(0), rows]


def _borders(centroids: Tensor) -> Tensor:
    return (centroids[:, 1:] + centroids[:, :-1]) / 2
