"""A hospital's own cases for the recipes `default` and `pisov`: read from a manifest, prepared and divided.

A fifth of the patients is not trained on: on it the thresholds and the certainty of a type are chosen, and whoever
measures the model can ask with it (`patients.json` in the folder of the run).
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.cohort.manifest import read_usable_cases
from TumorRetrievalLib.cohort.splits import split_by_patient
from TumorRetrievalLib.errors import ManifestError, WeightsError
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.training.calibration import Shown
from TumorRetrievalLib.training.checkpoint import FILE_NAME as CHECKPOINT_NAME
from TumorRetrievalLib.training.own_cases import OwnScan, name_of_own_case, prepare_own_case
from TumorRetrievalLib.training.own_samples import OwnCrops, own_collate
from TumorRetrievalLib.training.samples import SampleMix
from TumorRetrievalLib.training.task import Progress, TrainingRequest
from TumorRetrievalLib.training.team import this_team
from TumorRetrievalLib.training.whole_scans import ScanStore, prepare_scans

HELD_OUT = "held out"
SHARES = {"training": 0.8, HELD_OUT: 0.2}
FEWEST_PATIENTS = 5
PATIENTS_NAME, LEFT_OUT_NAME = "patients.json", "left_out.txt"


@dataclass(frozen=True, eq=False)
class OwnData:
    """A hospital's cases, prepared and divided by patient.

    :param parts: part -> patient -> names of the patient's scans in the store.
    :param classes: label -> how many tumors to train on have each of its values, in the order of `ALLOWED`.
    :param tumors: how many there are to train on.
    :param left_out: how many cases cannot be used; which, and why, is in `left_out.txt`.
    :param whole_known: in how many of the scans to train on oedema would have been drawn.
    :param manifest: its file name.
    """

    store: ScanStore
    parts: dict[str, dict[str, list[str]]]
    classes: dict[str, list[int]]
    tumors: int
    left_out: int
    whole_known: int
    manifest: str

    def patients(self, part: str) -> list[list[str]]:
        """The scans of each patient of a part."""
        return list(self.parts[part].values())

    def learned(self, labels: Iterable[str]) -> list[str]:
        """Those of some labels of which at least two values occur: of one alone nothing can be learned."""
        return [label for label in labels if sum(count > 0 for count in self.classes[label]) > 1]

    def in_words(self) -> str:
        """What was trained on, for a reader."""
        training, held_out = (self.parts[part] for part in SHARES)
        scans = sum(map(len, training.values()))
        return (
            f"{self.tumors} tumors in {scans} scans of {len(training)} patients of {self.manifest}; {len(held_out)} "
            f"more patients were kept back"
        )

    def failures(self, labels: Iterable[str]) -> list[str]:
        """What the data cannot teach, in sentences."""
        said = []
        for label in labels:
            values = [name for name, count in zip(ALLOWED[label], self.classes[label], strict=True) if count]
            if len(values) < 2:
                known = f"all tumors with a known {_words(label)} are: {values[0]}" if values else "no tumor has one"
                said.append(f"The {_words(label)} was not learned: {known}. What the model says of it is no evidence.")
        if self.whole_known == 0:
            said.append("No mask shows oedema, so the whole tumor was not learned; only its core was.")
        if self.left_out:
            said.append(f"{self.left_out} cases of the manifest could not be used ({LEFT_OUT_NAME} of the run).")
        return said


def own_data(request: TrainingRequest, progress: Progress, *, core_only: bool = False) -> OwnData:
    """Prepares the cases of a manifest.

    :param core_only: scans in which no core is drawn are of no use.
    :raises ManifestError: if it is no manifest, or fewer than `FEWEST_PATIENTS` patients can be used.
    :raises WeightsError: if the folder of the run has trained on other cases.
    """
    listed, errors = read_usable_cases(request.data)
    reasons = [str(error) for error in errors]
    make_folder(request.out)
    store = ScanStore(request.cases or request.out / "cases", OwnScan)
    names = {name_of_own_case(case): case for case in listed}
    prepare_scans(
        store,
        {name: partial(prepare_own_case, case) for name, case in names.items()},
        progress,
        max(1, (os.cpu_count() or 2) // 2),
        failed=lambda name, error: reasons.append(str(error)),
    )
    known = {name: _Known.of(store.read(name)) for name in names if store.has(name)}
    if core_only:
        empty = [name for name, scan in known.items() if not scan.has_core]
        reasons += [f"Case {names[name].id!r}, column 'mask': no tumor core is drawn in it." for name in empty]
        known = {name: scan for name, scan in known.items() if name not in empty}
    _tell(request.out, reasons, progress)
    _require_enough(request.data, [names[name] for name in known], reasons)
    parts = _divided(known, names)
    _require_same_patients(request.out, {part: sorted(of) for part, of in parts.items()})
    training = [known[name] for of in parts["training"].values() for name in of]
    tumors = [tumor for scan in training for tumor in scan.classes]
    return OwnData(
        store,
        parts,
        {label: _counted([one[label] for one in tumors], len(values)) for label, values in ALLOWED.items()},
        len(tumors),
        len(reasons),
        sum(scan.whole_known for scan in training),
        Path(request.data).name,
    )


@dataclass(frozen=True)
class _Known:
    """What is kept in memory of a prepared scan."""

    classes: list[dict[str, int]]
    has_core: bool
    whole_known: bool

    @classmethod
    def of(cls, scan: OwnScan) -> "_Known":
        has_core = any(tumor.regions["core"] for tumor in scan.tumors)
        return cls([tumor.classes for tumor in scan.tumors], has_core, scan.whole_known)


def held_out_crops(data: OwnData, seed: int = 1) -> Callable[[SampleMix], Callable[[int], Shown]]:
    """Samples of the patients that are not trained on, as `calibration.calibrate` asks for them."""

    def samples_of(mix: SampleMix) -> Callable[[int], Shown]:
        crops = OwnCrops(data.store, data.patients(HELD_OUT), seed=seed, mix=mix, changed=False)

        def sample(number: int) -> Shown:
            shown = crops[number]
            return Shown(own_collate([shown]), shown.spacing_mm, shown.patient)

        return sample

    return samples_of


def _divided(scans: Iterable[str], names: Mapping[str, Case]) -> dict[str, dict[str, list[str]]]:
    name_of = {names[name].id: name for name in scans}
    parts = {}
    for part, cases in split_by_patient([names[name] for name in scans], SHARES, 0).items():
        parts[part] = {}
        for case in cases:
            parts[part].setdefault(case.patient, []).append(name_of[case.id])
    return parts


def _counted(classes: list[int], count: int) -> list[int]:
    counts = Counter(classes)
    return [counts[number] for number in range(count)]


def _words(label: str) -> str:
    return label.replace("_", " / ")


def _tell(out: Path, reasons: list[str], progress: Progress) -> None:
    """Keeps which cases are left out in the folder of the run: not in the model, as it names cases."""
    if this_team().leads:
        with atomic_file(out / LEFT_OUT_NAME) as path:
            path.write_text("".join(f"{reason}\n" for reason in reasons), encoding="utf-8")
    if reasons:
        progress(1.0, f"Cases that cannot be used: {len(reasons)}, listed in {out / LEFT_OUT_NAME}")


def _require_enough(manifest: str, usable: list[Case], reasons: list[str]) -> None:
    patients = {case.patient for case in usable}
    if len(patients) < FEWEST_PATIENTS:
        why = f" {len(reasons)} cases cannot be used; the first: {reasons[0]}" if reasons else ""
        raise ManifestError(
            f"{manifest} has {len(patients)} patients with a T1c and a mask that can be used; training needs at least "
            f"{FEWEST_PATIENTS}, of whom a fifth is kept back.{why}"
        )


def _require_same_patients(out: Path, patients: dict[str, list[str]]) -> None:
    """Keeps who is trained on; a training that goes on must not be shown those on whom it is measured."""
    path = out / PATIENTS_NAME
    if path.exists() and (out / CHECKPOINT_NAME).exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} is damaged ({error}). Start the training in another folder.") from None
        if before != patients:
            raise WeightsError(
                f"The training in {out} was started with other patients than can be used now. Use another folder, or "
                f"the manifest and the files as they were."
            )
    if this_team().leads:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(patients, indent=2) + "\n", encoding="utf-8")
