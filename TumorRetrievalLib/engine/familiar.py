"""Whether the similar cases of a tumor may be called similar: by the index, and by the model."""

from dataclasses import dataclass

from TumorRetrievalLib.retrieval.familiarity import BestMatch

LEAST_SEEN = 0.25
"""Less than this part of the outline seen without the box is no tumor to the model.

The highest limit, in steps of .05, below which only one of 75 held-out synthetic tumors falls. docs/searching.md has
the rates.
"""


@dataclass(frozen=True)
class Familiarity:
    """How familiar a tumor is.

    :param match: its best match, on the scale of the index's own tumors.
    :param seen: the part of its outline that the model sees without being told of the box; see
        `TumorReader.seen_without_box`.
    """

    match: BestMatch
    seen: float

    @property
    def similar(self) -> bool:
        """Whether there is a tumor that the model knows, and anything like it in the index."""
        return self.seen >= LEAST_SEEN and not self.match.rare

    def described(self) -> dict:
        """As result.json shows it."""
        return {
            "similar": self.similar,
            "best_score": self.match.score,
            "percentile": self.match.percentile,
            "seen_without_box": round(self.seen, 3),
        }

    def warning(self, number: int) -> str | None:
        """A sentence for the reader where nothing is similar.

        :param number: of the box, from 1.
        """
        if self.similar:
            return None
        begin = f"Nothing in this index may be called similar to what is in box {number}:"
        if self.seen < LEAST_SEEN:
            return (
                f"{begin} without the box, the model sees only {self.seen:.0%} of this as a tumor. Look whether the "
                "box encloses one; the listed cases resemble the box rather than a tumor."
            )
        if self.match.score is None:
            return f"{begin} it holds no tumor that can be compared."
        return (
            f"{begin} its best match has a similarity of {self.match.score:.2f}, and only {self.match.percentile:.1f} "
            "% of the index's own tumors find so poor a match among other patients."
        )
