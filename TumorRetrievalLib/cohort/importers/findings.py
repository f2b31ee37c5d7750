"""What was found in an archive: its cases, and every file that cannot be used, with the reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, MaskLabels
from TumorRetrievalLib.cohort.labels import ALLOWED

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Problem:
    """Why something was left out.

    :param path: the file or folder.
    :param reason: what is wrong with it and what to do, as a sentence.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Archive:
    """What an archive holds.

    :param kind: "brats", "manifest" or "dicom".
    :param cases: ids are unique; every file that a case names has been read once and can be used.
    :param problems: what was left out; the cases do not depend on it.
    :param notes: sentences about what was concluded or assumed, for a reader.
    """

    kind: str
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def as_report(self) -> dict:
        """What would be indexed, in plain values: `kind`, `cases` (one row each), `problems`, `notes`."""
        return {
            "kind": self.kind,
            "cases": [_row(case) for case in self.cases],
            "problems": [{"path": str(problem.path), "reason": problem.reason} for problem in self.problems],
            "notes": list(self.notes),
        }


def some(cases: Sequence[Case]) -> str:
    """Cases in a note: their number and the first few names."""
    names = ", ".join(case.id for case in cases[:3])
    return f"{len(cases)} case{'s' * (len(cases) > 1)} ({names}{', ...' * (len(cases) > 3)})"


def in_words(scheme: MaskLabels) -> str:
    """What a mask's labels mean, in a note."""
    core, whole = (", ".join(map(str, labels)) for labels in (scheme.core, scheme.whole))
    return f"{scheme.scheme} (core {core or 'none'}; whole tumor {whole})"


def _row(case: Case) -> dict[str, str]:
    files = {name: str(getattr(case, name) or "") for name in ("t1c", "flair", "mask")}
    labels = [getattr(tumor, name) for tumor in case.tumors for name in (*ALLOWED, "marker")]
    return {
        "case": case.id,
        "patient": case.patient,
        **files,
        "labels": ", ".join(dict.fromkeys(label for label in labels if label)),
        "mask_scheme": case.mask_labels.scheme if case.mask_labels else "",
        "mask_origin": case.mask_origin or "",
        "provenance": case.provenance,
    }
