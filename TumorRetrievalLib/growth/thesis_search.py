"""The searches of Rosier (2022) that ours is measured against: the baseline and the two that look at fewer voxels.

They are here for the thesis' Table 1 only; `OverlapSearch` gives the baseline's result in a fraction of the time.
"""

import numpy as np

from TumorRetrievalLib.growth.bricks import SparseMasks, gather, pack
from TumorRetrievalLib.growth.overlap_search import OverlapSearch


def baseline_scores(search: OverlapSearch, whole: np.ndarray, core: np.ndarray, tumors=None) -> np.ndarray:
    """Dice of the whole tumors plus Dice of the cores, one tumor after the other, voxel by voxel (section 3.3).

    :param tumors: indices of the tumors to compare with; all of them if None.
    :returns: float64, one score for each.
    """
    tumors = range(len(search)) if tumors is None else tumors
    scores = np.empty(len(tumors))
    for n, index in enumerate(tumors):
        scores[n] = sum(
            2.0 * np.count_nonzero(mask & stored) / (np.count_nonzero(mask) + np.count_nonzero(stored))
            for mask, stored in (
                (whole, search.whole.unpack(index, search.edge)),
                (core, search.core.unpack(index, search.edge)),
            )
        )
    return scores


class DownsampledSearch:
    """The search among fewer voxels (section 3.4.1): every mask is sampled at `edge`^3 of its voxels first.

    :param search: the search at full resolution.
    :param edge: 64 or 32.
    """

    def __init__(self, search: OverlapSearch, edge: int):
        self._samples = sampled_indices(search.edge, edge)
        self._search = OverlapSearch(
            *(self._downsampled(masks, search.edge) for masks in (search.whole, search.core)), edge
        )

    def search(self, whole: np.ndarray, core: np.ndarray, k: int = 15) -> np.ndarray:
        """The best `k` by the sum of both Dice coefficients of what is left of the masks: indices, best first."""
        whole, core = (mask[np.ix_(*[self._samples] * 3)] for mask in (whole, core))
        return self._search.search(whole, core, k).indices

    def _downsampled(self, masks: SparseMasks, edge: int) -> SparseMasks:
        samples = np.ix_(*[self._samples] * 3)
        return gather([pack(masks.unpack(index, edge)[samples]) for index in range(len(masks))])


def sampled_indices(source: int, target: int) -> np.ndarray:
    """Where `scipy.ndimage.zoom` of order 0, which the thesis used, looks: ends on ends, the rest at even distances."""
    return np.floor(np.arange(target) * (source - 1) / (target - 1) + 0.5).astype(int)
