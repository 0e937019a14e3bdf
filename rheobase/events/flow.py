"""Optical flow over another stretch of time than that of its measurements."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e6


def intervals(times: NDArray[np.float64], start: float, stop: float) -> list[tuple[int, float]]:
    """Which measurements cover start .. stop, and the share of each that counts.

    times: of the measurements, `[K]`, s; measurement k is a displacement from times[k] to times[k + 1].
    start, stop: within `times`, s.

    A stretch shorter than the measurement it begins in takes a share of that one alone, even where it reaches
    into the next, as in the published evaluation.
    """
    at = int(np.searchsorted(times, start, side="right")) - 1
    length = times[at + 1] - times[at]
    if length > stop - start:
        return [(at, float((stop - start) / length))]
    found = []
    while times[at] < stop:
        begin, end = max(float(times[at]), start), min(float(times[at + 1]), stop)
        found.append((at, (end - begin) / float(times[at + 1] - times[at])))
        at += 1
    return found


def propagated(flows: Iterable[tuple[NDArray[np.floating], float]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where each pixel gets to, moved by one flow after the other: `[2, H, W]` along x and y, and where known.

    flows: pairs of a displacement `[2, H, W]`, pixels, and the share of it that is made; at least one.

    A pixel takes the displacement of the pixel nearest to where it is. It is known while it stays in the
    image, and where displacements are numbers below a million and not 0 in both directions, which stands for
    unknown; what is not known is 0.

    As `estimate_corresponding_gt_flow` of EV-FlowNet, by which the papers are evaluated, but for float64, and
    for a pixel of which only one coordinate did not move: there that coordinate alone becomes 0.
    """
    position, known = np.empty(0), np.empty(0, np.bool_)
    for flow, share in flows:
        height, width = flow.shape[1:]
        if not position.size:
            origin = np.stack([*np.indices((height, width))[::-1]]).astype(np.float64)
            position, known = origin.copy(), np.ones((height, width), np.bool_)
        column, row = np.rint(position).astype(np.int64)
        known &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
        moved = flow[:, np.where(known, row, 0), np.where(known, column, 0)]
        known &= (np.abs(moved) < LARGEST).all(0) & (moved != 0).any(0)
        position += np.where(known, moved, 0.0) * share
    return np.where(known, position - origin, 0.0), known
