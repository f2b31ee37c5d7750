"""What a search of the case index answers with."""

from dataclasses import dataclass

from TumorRetrievalLib.cohort.case import Tumor


@dataclass(frozen=True, eq=False)
class Hit:
    """A tumor of the index that is similar to the one asked about.

    :param case: id of its case.
    :param score: similarity, at most 1; the sum of `blocks`.
    :param blocks: name of a block of the embedding -> its share of the score.
    :param patient: the case's patient.
    :param place: the tumor's number in its case, from 0.
    :param record: the tumor with its labels.
    """

    case: str
    score: float
    blocks: dict[str, float]
    patient: str
    place: int
    record: Tumor

    @property
    def tumor(self) -> str:
        """Id of the tumor, which names it within its case."""
        return self.record.id
