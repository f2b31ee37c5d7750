"""How far to trust an index: are the neighbours of its own tumors alike, and is a scan in it twice?

Each tumor is taken as if it were asked about, and the tumors of all other patients answer (leave one patient out). A
label counts as told if the five nearest neighbours that have one agree on the right one by vote. Beside it stands what
the most frequent label would tell, also of the other patients only. Intervals are of resampled patients, not tumors,
because tumors of one patient are alike.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.find import prepare_folder
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation.neighbours import LABELS, K, similarity_matrix, vote
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.report.audit_page import write_audit_page
from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout
from TumorRetrievalLib.retrieval.case_index import CaseIndex

NEAR_DUPLICATE = 0.03
"""Two tumors of different patients whose distance (1 - similarity) is below this may be one tumor. Three scans of BraTS
that were stored anew (rescaled, moved, cropped, noisier, at 1.5 mm; most without their FLAIR) stayed within
0.03 of themselves, and the nearest tumors of different patients were 0.12 apart. Where an index is dense, small tumors
of one place are as near without being one."""

MOST_QUERIES = 5000
"""Of a larger index, patients ask in a random order until this many tumors have."""

_RESAMPLED = 1000
_SHOWN_PAIRS = 50
_CANDIDATES = 200
_CHUNK_NUMBERS = 2**24

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class _Tumors:
    """All tumors of an index.

    :param vectors: shape (n, D).
    :param labels: label -> its values, "" where missing, shape (n,).
    :param patients: number of each tumor's patient, shape (n,).
    :param cases: id of each tumor's case.
    :param asking: rows of the tumors that ask, ascending.
    """

    vectors: np.ndarray
    labels: dict[str, np.ndarray]
    patients: np.ndarray
    cases: list[str]
    asking: np.ndarray


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """What was found for the tumors that ask.

    :param told: label -> what the neighbours tell, "" where none of them has that label; shape (asking,).
    :param nearest: row of the nearest tumor of another patient, shape (asking,); -1 where there is none.
    :param distance: to it, 1 - similarity.
    """

    told: dict[str, np.ndarray]
    nearest: np.ndarray
    distance: np.ndarray


def audit_index(folder: Path, out: Path, *, seed: int = 0, progress: Progress | None = None) -> dict:
    """Measure an index with its own cases; writes `audit.json` and `audit.html` into `out`.

    :param seed: of the resampled patients and, in a large index, of who asks.
    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :returns: the content of audit.json. `labels`, `types` and `areas` hold rows of `tumors`, `patients`, `agrees`
        (share of tumors), `interval` (95 %) and `most_frequent`; `near_duplicates` rows of two cases.
    :raises UnreadableFile: if the index has tumors of fewer than two patients.
    :raises IndexDamaged: :raises CannotWrite: if it cannot be read, or the result cannot be written.
    """
    report = progress or (lambda fraction, message: None)
    report(0.0, "Reading the index")
    with CaseIndex.open(folder) as index:
        stats, layout = index.stats(), index.layout
        cases = [index.get(case_id) for case_id in index.case_ids()]
        vectors = [index.vectors_of(case.id) for case in cases]
    tumors = _collected(cases, vectors, seed)
    prepare_folder(out)
    found = _ask(tumors, layout, lambda f: report(0.1 + 0.8 * f, "Asking each tumor's neighbours"))
    alone = _ask(tumors, layout, lambda f: None, {"appearance": 1.0})
    report(0.9, "Resampling patients")
    rng = np.random.default_rng(seed)
    result = {
        "index": {"folder": str(folder), **{name: stats[name] for name in ("cases", "tumors", "model")}},
        "patients": int(tumors.patients.max()) + 1,
        "asked": len(tumors.asking),
        "k": K,
        "seed": seed,
        "network_masks": sum(case.mask_origin == "network" for case in cases),
        "labels": {label: _row(tumors, found, label, rng, alone=alone) for label in LABELS},
        "types": _rows_by(tumors, found, "type", rng),
        "areas": _rows_by(tumors, found, "area", rng),
        "threshold": NEAR_DUPLICATE,
        **_duplicates(tumors, found, cases),
    }
    result["notes"] = _notes(result, tumors)
    with atomic_file(out / "audit.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_audit_page(out / "audit.html", result)
    report(1.0, "Done")
    return result


def _collected(cases, vectors, seed: int) -> _Tumors:
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(case.patient for case in cases))}
    tumors = [(case, tumor) for case in cases for tumor in case.tumors]
    patients = np.array([numbers[case.patient] for case, _ in tumors], dtype=np.int64)
    if len(np.unique(patients)) < 2:
        raise UnreadableFile("An audit compares patients: the index needs tumors of at least two. Add cases.")
    order = np.random.default_rng(seed).permutation(len(numbers))
    asked = np.cumsum(np.bincount(patients, minlength=len(numbers))[order])
    chosen = order[: int(np.searchsorted(asked, MOST_QUERIES, side="right")) or 1]
    return _Tumors(
        np.concatenate(vectors),
        {label: np.array([getattr(tumor, label) or "" for _, tumor in tumors]) for label in LABELS},
        patients,
        [case.id for case, _ in tumors],
        np.flatnonzero(np.isin(patients, chosen)),
    )


def _ask(tumors: _Tumors, layout: EmbeddingLayout, report: Callable, weights: dict | None = None) -> _Neighbours:
    at_once = max(1, _CHUNK_NUMBERS // len(tumors.vectors))
    told = {label: [] for label in LABELS}
    nearest, distance = [], []
    for start in range(0, len(tumors.asking), at_once):
        report(start / len(tumors.asking))
        rows = tumors.asking[start : start + at_once]
        similarity = similarity_matrix(tumors.vectors[rows], tumors.vectors, layout, weights)
        similarity[tumors.patients[rows][:, None] == tumors.patients[None]] = -np.inf
        order = _best_first(similarity, min(_CANDIDATES, len(tumors.vectors)))
        for label in LABELS:
            told[label] += [
                _told(tumors.labels[label], candidates, scores)
                for candidates, scores in zip(order, similarity, strict=True)
            ]
        best = similarity[np.arange(len(rows)), order[:, 0]]
        nearest += np.where(np.isfinite(best), order[:, 0], -1).tolist()
        distance += (1 - best).tolist()
    return _Neighbours(
        {label: np.array(values) for label, values in told.items()}, np.array(nearest), np.array(distance)
    )


def _best_first(similarity: np.ndarray, count: int) -> np.ndarray:
    """The columns of the largest numbers of each row, the largest first, shape (rows, count)."""
    columns = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(similarity, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _told(labels: np.ndarray, candidates: np.ndarray, scores: np.ndarray) -> str:
    """What the nearest tumors that have a label vote for; "" if none has."""
    voting = candidates[(labels[candidates] != "") & np.isfinite(scores[candidates])][:K]
    if len(voting) < K and len(candidates) < len(labels):
        # So few of the nearest have the label that all have to be looked at.
        known = np.flatnonzero((labels != "") & np.isfinite(scores))
        voting = known[np.argsort(-scores[known], kind="stable")][:K]
    return vote(labels[voting]) if len(voting) else ""


def _row(tumors: _Tumors, found: _Neighbours, label: str, rng, among=None, alone: _Neighbours | None = None) -> dict:
    """How often the neighbours tell a label, among the tumors that ask (or some of them)."""
    truth = tumors.labels[label][tumors.asking]
    counted = (truth != "") & (found.told[label] != "")
    if among is not None:
        counted &= among
    patients = tumors.patients[tumors.asking][counted]
    row = {"tumors": int(counted.sum()), "patients": len(np.unique(patients))}
    if not row["tumors"]:
        return row
    right = (found.told[label] == truth)[counted]
    most = (_most_frequent(tumors, label) == truth)[counted]
    row |= {
        "agrees": round(float(right.mean()), 3),
        "interval": _interval(right, patients, rng),
        "most_frequent": round(float(most.mean()), 3),
    }
    if alone is not None:
        row["appearance_alone"] = round(float((alone.told[label] == truth)[counted].mean()), 3)
    return row


def _rows_by(tumors: _Tumors, found: _Neighbours, label: str, rng) -> dict[str, dict]:
    """For each value of a label, how often the neighbours tell that label and, if it is the area, also the type."""
    truth = tumors.labels[label][tumors.asking]
    rows = {}
    for value in sorted(set(truth.tolist()) - {""}):
        rows[value] = _row(tumors, found, label, rng, truth == value)
        if label != "type":
            rows[value]["type"] = _row(tumors, found, "type", rng, truth == value)
    return rows


def _most_frequent(tumors: _Tumors, label: str) -> np.ndarray:
    """For each tumor that asks the most frequent label of all other patients' tumors."""
    values, codes = np.unique(tumors.labels[label], return_inverse=True)
    known = values != ""
    of_patient = defaultdict(lambda: np.zeros(len(values), dtype=np.int64))
    for patient, code in zip(tumors.patients.tolist(), codes.tolist(), strict=True):
        of_patient[patient][code] += 1
    total = sum(of_patient.values()) * known
    best = {patient: values[np.argmax((total - counts) * known)] for patient, counts in of_patient.items()}
    return np.array([best[patient] for patient in tumors.patients[tumors.asking].tolist()])


def _interval(right: np.ndarray, patients: np.ndarray, rng) -> list[float]:
    """The 2.5th and 97.5th percentile of the share when patients are drawn anew, with replacement."""
    _, codes = np.unique(patients, return_inverse=True)
    each, hits = np.bincount(codes), np.bincount(codes, weights=right)
    shares = []
    for _ in range(_RESAMPLED):
        drawn = rng.integers(len(each), size=len(each))
        shares.append(hits[drawn].sum() / each[drawn].sum())
    return [round(float(bound), 3) for bound in np.percentile(shares, (2.5, 97.5))]


def _duplicates(tumors: _Tumors, found: _Neighbours, cases) -> dict:
    """Tumors of different patients that are too alike, and scans that are there voxel by voxel under two patients."""
    pairs = {}
    for row, near, distance in zip(tumors.asking, found.nearest, found.distance, strict=True):
        if near >= 0 and distance < NEAR_DUPLICATE:
            pair = tuple(sorted((tumors.cases[row], tumors.cases[near])))
            pairs[pair] = min(max(0.0, round(float(distance), 4)), pairs.get(pair, np.inf))
    nearest_first = sorted(pairs.items(), key=lambda item: (item[1], item[0]))
    of_voxels = defaultdict(list)
    for case in cases:
        if case.voxels_sha256 is not None:
            of_voxels[case.voxels_sha256].append(case)
    same = [twins for twins in of_voxels.values() if len({case.patient for case in twins}) > 1]
    return {
        "near_duplicates": [{"cases": list(pair), "distance": far} for pair, far in nearest_first[:_SHOWN_PAIRS]],
        "near_duplicate_pairs": len(pairs),
        "same_scans": [[case.id for case in twins] for twins in same],
        "scans_compared": sum(case.voxels_sha256 is not None for case in cases),
    }


def _notes(result: dict, tumors: _Tumors) -> list[str]:
    """What a reader must know before trusting a number."""
    notes = []
    types = set(tumors.labels["type"].tolist()) - {""}
    untyped = int((tumors.labels["type"] == "").sum())
    if untyped:
        notes.append(
            f"{untyped} of {len(tumors.vectors)} tumors have no type; they were neither asked for it nor vote."
        )
    if len(types) == 1:
        notes.append(f"Every known type is {types.pop()}: that the types agree says nothing.")
    few = [label for label, row in result["labels"].items() if 0 < row["patients"] < 30]
    if few:
        notes.append(
            f"Fewer than 30 patients were asked about {', '.join(few)}: the intervals are wide, and too narrow."
        )
    if result["network_masks"]:
        notes.append(
            f"{result['network_masks']} cases were outlined by the network: their boxes and sizes are guesses."
        )
    notes.append("Area and sides come from the position, which is also compared: that they agree is no surprise.")
    if result["asked"] < len(tumors.vectors):
        notes.append(f"{result['asked']} of {len(tumors.vectors)} tumors asked, drawn by patient; all answered.")
    return notes
