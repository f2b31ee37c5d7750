"""Cases and tumors as payloads of a Qdrant collection, and filters as its conditions."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.filters import COLUMNS, Filters

_NAMES = uuid.UUID("5d0e4a3c-7a0b-4d6e-9a54-2f1f8c9d7b10")
_FILES = ("t1c", "flair", "mask")

MANIFEST_POINT = str(uuid.uuid5(_NAMES, "manifest"))


def case_point(case_id: str) -> str:
    """The id of the point that stands for a case."""
    return str(uuid.uuid5(_NAMES, json.dumps([case_id])))


def tumor_point(case_id: str, place: int) -> str:
    """The id of the point that stands for a tumor."""
    return str(uuid.uuid5(_NAMES, json.dumps([case_id, place])))


def case_payload(case: Case) -> dict:
    """A case, without what its tumors' points say."""
    record = {name: value for name, value in vars(case).items() if name not in ("tumors", "recipe", "mask_labels")}
    # Absolute, because every reader has a working folder of its own.
    record |= {name: None if record[name] is None else str(Path(record[name]).absolute()) for name in _FILES}
    record |= {
        name: None if (one := getattr(case, name)) is None else asdict(one) for name in ("recipe", "mask_labels")
    }
    return {"kind": "case", "case": case.id, "patient": case.patient, "tumors": len(case.tumors),
            "record": json.dumps(record)}  # fmt: skip


def tumor_payload(case: Case, place: int, blocks: int) -> dict:
    """A tumor; labels that are unknown are absent, so that no condition on them holds.

    :param blocks: which blocks its embedding has, as bits.
    """
    tumor = case.tumors[place]
    record = dict(vars(tumor))
    if tumor.box is not None:
        record["box"] = [tumor.box.center.tolist(), tumor.box.size.tolist(), tumor.box.axes.tolist()]
    labels = {name: getattr(tumor, name) for name in (*COLUMNS.values(), "core_ml")}
    known = {name: value for name, value in labels.items() if value is not None}
    return {"kind": "tumor", "case": case.id, "patient": case.patient, "place": place, "blocks": blocks, **known,
            "record": json.dumps(record)}  # fmt: skip


def case_of(payload: dict, tumors: list[Tumor]) -> Case:
    """A case from its payload and its tumors."""
    record = json.loads(payload["record"])
    record |= {name: None if record[name] is None else Path(record[name]) for name in _FILES}
    for name, kind in (("recipe", SyntheticRecipe), ("mask_labels", MaskLabels)):
        record[name] = None if record[name] is None else kind(**record[name])
    return Case(**record, tumors=tuple(tumors))


def tumor_of(payload: dict) -> Tumor:
    """A tumor from its payload."""
    record = json.loads(payload["record"])
    if record["box"] is not None:
        record["box"] = Box(*record["box"])
    return Tumor(**record)


def conditions(filters: Filters, blocks: int):
    """A filter as Qdrant takes it, among the tumors with the same known blocks."""
    from qdrant_client import models

    def among(key: str, values) -> models.FieldCondition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))

    must = [models.FieldCondition(key="blocks", match=models.MatchValue(value=blocks))]
    must += [among(label, wanted) for name, label in COLUMNS.items() if (wanted := getattr(filters, name))]
    if (filters.smallest_ml, filters.largest_ml) != (None, None):
        bounds = models.Range(gte=filters.smallest_ml, lte=filters.largest_ml)
        must.append(models.FieldCondition(key="core_ml", range=bounds))
    left_out = {"patient": filters.exclude_patients, "case": filters.exclude_cases}
    return models.Filter(must=must, must_not=[among(key, values) for key, values in left_out.items() if values])
