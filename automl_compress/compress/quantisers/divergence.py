"""Where to clip, by the divergence between a histogram and its quantised version."""

import numpy as np
import torch
from torch import Tensor

_BINS = 1024
_CANDIDATES = 96


def divergence_limits(magnitudes: Tensor, levels: int) -> Tensor:
    """Choose a clipping limit for each row.

    A histogram of the magnitudes is cut off at each candidate; what lies beyond is added to the
    last bin. It is compared with the same histogram merged into `levels` bins and spread again
    over those that were not empty. The cut of smallest Kullback-Leibler divergence wins.

    Args:
        magnitudes: non-negative, float64 (C, N).
        levels: number of values that quantised magnitudes may take.

    Returns:
        float64 (C,), in (0, largest magnitude]; 0 for rows of zeros.

    Source: Migacz, "8-bit inference with TensorRT", GTC 2017, slides 37 to 40; there 2,048 bins
    and every cut, here 1,024 and about a hundred cuts. Zeros are left out: they are exact on
    every grid, and in pruned layers they would drown the rest.
    """
    if levels >= _BINS:
        return magnitudes.amax(1)
    limits = [_limit(row[row > 0].cpu().numpy(), levels) for row in magnitudes]
    return torch.tensor(limits, dtype=magnitudes.dtype, device=magnitudes.device)


def _limit(magnitudes: np.ndarray, levels: int) -> float:
    if not len(magnitudes):
        return 0.0
    largest = float(magnitudes.max())
    # Computed here: the library's histogram refuses ranges near the smallest numbers.
    bins = np.minimum((magnitudes / largest * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS).astype(np.float64)
    cuts = np.unique(np.linspace(max(levels, 2), _BINS, _CANDIDATES).astype(np.int64))
    divergences = [_divergence(counts, int(cut), levels) for cut in cuts]
    return largest * float(cuts[int(np.argmin(divergences))]) / _BINS


def _divergence(counts: np.ndarray, cut: int, levels: int) -> float:
    kept = counts[:cut].copy()
    filled = kept > 0
    if not filled.any():
        return np.inf
    merged = np.arange(cut) * levels // cut
    totals = np.bincount(merged, weights=kept, minlength=levels)
    bins = np.bincount(merged, weights=filled, minlength=levels)
    coarse = np.where(filled, (totals / np.maximum(bins, 1))[merged], 0.0)
    kept[-1] += counts[cut:].sum()
    if kept[-1] > 0 and coarse[-1] == 0:
        coarse[-1] = 1e-4 * coarse.sum()  # else the divergence is infinite
    original, quantised = kept / kept.sum(), coarse / coarse.sum()
    some = original > 0
    return float(np.sum(original[some] * np.log(original[some] / quantised[some])))
