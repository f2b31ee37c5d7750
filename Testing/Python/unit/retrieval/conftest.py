"""Cases with tumors and embeddings for tests of the index."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.labels import AREAS, SIDES, TYPES
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex

MODEL = "a" * 64


class Cohort:
    """Made-up cases and their embeddings.

    :param distinct: how many different embeddings there are; fewer than tumors means that some tumors tie.
    :param some_unknown: leave out labels, and blocks of the embeddings, at random.
    """

    def __init__(self, count, seed=0, *, distinct=None, some_unknown=False, prefix="case"):
        rng = np.random.default_rng(seed)
        numbers = rng.integers(1, 4, count)
        self.vectors = [self._embeddings(number, rng, distinct, some_unknown) for number in numbers]
        self.cases = [
            Case(
                id=f"{prefix}-{i:04d}",
                patient=f"patient {i // 2}",
                tumors=tuple(self._tumor(str(n + 1), rng, some_unknown) for n in range(number)),
                provenance=f"synthetic, seed {i}",
            )
            for i, number in enumerate(numbers)
        ]

    def _embeddings(self, number, rng, distinct, some_unknown):
        source = rng if distinct is None else np.random.default_rng(int(rng.integers(distinct)))
        rows = []
        for _ in range(number):
            blocks = {name: source.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks}
            if some_unknown:
                blocks = {name: block for name, block in blocks.items() if rng.random() < 0.7}
            rows.append(DEFAULT_LAYOUT.combine(blocks))
        return np.stack(rows)

    def _tumor(self, name, rng, some_unknown):
        def known(value):
            return None if some_unknown and rng.random() < 0.4 else value

        return Tumor(
            id=name,
            box=Box.aligned(rng.normal(0, 30, 3), rng.uniform(5, 50, 3)),
            type=known(str(rng.choice(TYPES))),
            area=known(str(rng.choice(AREAS))),
            left_right=known(str(rng.choice(SIDES))),
            core_ml=known(float(rng.uniform(0.1, 40))),
            atlas_mm=known(tuple(rng.normal(0, 30, 3))),
        )

    def fill(self, folder, search=None):
        """An index of these cases, open for writing."""
        index = CaseIndex.create(folder, MODEL, search=search)
        index.add(self.cases, self.vectors)
        return index

    def brute_force(self, embedding, k, weights=None, keep=lambda case, tumor: True):
        """What a search has to find: (case, tumor, score), by the definition of the similarity, one by one."""
        found = []
        for case, vectors in zip(self.cases, self.vectors, strict=True):
            for tumor, vector in zip(case.tumors, vectors, strict=True):
                score = similarity(embedding, vector, weights)
                if keep(case, tumor) and score is not None:
                    found.append((case.id, tumor.id, score))
        return sorted(found, key=lambda one: (-one[2], one[0], one[1]))[:k]


def similarity(one, other, weights):
    """The weighted mean of the cosines of the blocks that both have; None without any."""
    total, score = 0.0, 0.0
    for name, part in DEFAULT_LAYOUT.slices.items():
        if one[part].any() and other[part].any():
            total += weights.get(name, 0.0)
            score += weights.get(name, 0.0) * float(one[part].astype(float) @ other[part].astype(float))
    return score / total if total > 0 else None


@pytest.fixture(scope="session")
def cohort():
    return Cohort(60)


@pytest.fixture
def filled(cohort, tmp_path):
    with cohort.fill(tmp_path / "index") as index:
        yield index
