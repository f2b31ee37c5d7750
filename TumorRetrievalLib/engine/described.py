"""Hits as result.json and the worker's answers describe them."""

from TumorRetrievalLib.retrieval.case_index import Hit
from TumorRetrievalLib.retrieval.together import CaseHit


def described_hit(hit: Hit) -> dict:
    """A hit as result.json shows it."""
    return {
        "case": hit.case,
        "tumor": hit.tumor,
        "score": hit.score,
        "blocks": hit.blocks,
        "type": hit.record.type,
        "area": hit.record.area,
        "left_right": hit.record.left_right,
        "front_rear": hit.record.front_rear,
        "upper_lower": hit.record.upper_lower,
        "linear_size_mm": hit.record.linear_size_mm,
        "volume_ml": hit.record.core_ml,
    }


def described_case(hit: CaseHit) -> dict:
    """A case that resembles all boxes together, as result.json shows it; boxes are counted from 0."""
    pairs = [{"box": box, "tumor": pair.tumor, "score": pair.score} for box, pair in sorted(hit.pairs.items())]
    return {"case": hit.case, "score": hit.score, "blocks": hit.blocks, "pairs": pairs}
