"""A hospital's own cases: what is prepared of them, what is refused, and what a network is trained on in the end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.label_schemes import ENHANCING_IS_3, FOUR_LABELS
from TumorRetrievalLib.cohort.labels import ALLOWED, SIDES, TYPES
from TumorRetrievalLib.cohort.manifest import read_manifest
from TumorRetrievalLib.errors import InvalidImage, ManifestError, RegistrationFailed, WeightsError
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels, write_volume
from TumorRetrievalLib.imaging.nifti import write_nifti
from TumorRetrievalLib.imaging.tumor_crop import Scan, cut_crop
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.training import calibration, own_cases
from TumorRetrievalLib.training.commands import train_recipe
from TumorRetrievalLib.training.own_cases import OwnScan, prepare_own_case
from TumorRetrievalLib.training.own_data import held_out_crops, own_data
from TumorRetrievalLib.training.samples import TASKS, UNKNOWN
from TumorRetrievalLib.training.task import TrainingRequest
from TumorRetrievalLib.training.whole_scans import ScanStore


@pytest.fixture(autouse=True)
def in_place_already(monkeypatch):
    """The scans of these tests lie in the atlas as they are; the registration has tests of its own."""
    monkeypatch.setattr(own_cases, "register_to_atlas", lambda scan: AtlasAlignment.remembered(np.eye(4)))


def two_types(number: int, case: Case) -> Case:
    return replace(case, tumors=(Tumor(type=TYPES[number % 2]),))


def quiet(fraction, message):
    pass


def data_of(manifest, out, **options):
    return own_data(TrainingRequest(out=out, data=manifest), quiet, **options)


def left_out(out) -> list[str]:
    return (out / "left_out.txt").read_text().splitlines()


def first_case(hospital, change=two_types) -> Case:
    return read_manifest(hospital(1, change))[0]


def test_a_hospital_trains_on_its_own_cases_and_gets_a_model_that_reads_tumors(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SAMPLES", 3)

    model = train_recipe("default", tmp_path / "run", data=hospital(change=two_types), steps=2)

    reader = TumorReader.load(model, "cpu")
    card = json.loads((model / "model_card.json").read_text())
    patients = json.loads((tmp_path / "run" / "patients.json").read_text())
    assert reader.types == TYPES and "manifest.csv" in reader.model.contract["trained_on"]
    assert "6 tumors in 6 scans of 6 patients" in card["data"] and "2 more" in card["data"]
    assert card["metrics"]["core_with_box_around_core"]["n"] <= 2, "the interval is of patients, not of samples"
    assert sorted(patients["training"] + patients["held out"]) == [f"patient{n}" for n in range(8)]
    for file in (model / "model_card.json", model / "model.json"):
        assert "patient0" not in file.read_text() and "case0" not in file.read_text(), "models are shared"


def test_the_papers_network_trains_on_the_same_cases_with_type_and_place(hospital, tmp_path):
    def anywhere(number, case):
        return replace(case, tumors=(Tumor(type=TYPES[number % 2], left_right=SIDES[number // 2 % 2]),))

    model = train_recipe("pisov", tmp_path / "run", data=hospital(change=anywhere), steps=1, size="small", channels=4)

    card = json.loads((model / "model_card.json").read_text())
    weights = json.loads((model / "model.json").read_text())["training"]["recipe"]["task_weights"]
    assert {"type", "left_right"} <= set(weights) and "front_rear" not in weights, "all lie behind"
    assert any("front / rear was not learned" in sentence for sentence in card["known_failures"])


def test_what_is_kept_of_a_scan_is_cut_like_its_files(hospital):
    case = first_case(hospital)
    scan = OwnScan.from_arrays(prepare_own_case(case).to_arrays())
    box = Box.aligned((-20, -18, 4), (30, 26, 34))

    kept = cut_crop(scan.as_seen(), box, "core", 1.4)
    files = cut_crop(Scan.of(read_volume(case.t1c), read_volume(case.flair), scan.as_seen().brain_on), box, "core", 1.4)

    assert np.abs(kept.image - files.image).max() < 0.03
    assert kept.box == files.box


def test_tumors_are_told_apart_with_their_type_and_their_place(hospital):
    def two_tumors(number, case):
        labels = read_labels(case.mask)
        labels.data[15:17, 12:14, 12:14] = 4
        write_labels(case.mask, labels)
        far, near = labels.grid.to_world((15.5, 12.5, 12.5)), labels.grid.to_world((8, 9, 9))
        rows = (("a", far, "metastasis"), ("b", near, "glioma"))
        tumors = tuple(Tumor(id=name, box=Box.aligned(at, (30,) * 3), type=kind) for name, at, kind in rows)
        return replace(case, tumors=tumors)

    scan = prepare_own_case(first_case(hospital, two_tumors))

    large, small = scan.tumors
    assert TYPES[large.classes["type"]] == "glioma" and TYPES[small.classes["type"]] == "metastasis"
    assert SIDES[large.classes["left_right"]] == "left" and SIDES[small.classes["left_right"]] == "right"
    assert ALLOWED["area"][large.classes["area"]]
    assert small.regions["core"] == [15 - 1, 17 - 1, 12, 14, 12, 14], "the empty first slice is not kept"


def test_tumors_whose_types_differ_and_that_nobody_has_boxed_have_no_known_type(hospital):
    def mixed(number, case):
        return replace(case, tumors=(Tumor(id="1", type="glioma"), Tumor(id="2", type="metastasis")))

    assert prepare_own_case(first_case(hospital, mixed)).tumors[0].classes["type"] == UNKNOWN


def test_a_scan_that_cannot_be_brought_to_the_atlas_is_used_without_brain_and_place(hospital, monkeypatch):
    def fails(scan):
        raise RegistrationFailed("no brain")

    monkeypatch.setattr(own_cases, "register_to_atlas", fails)

    scan = OwnScan.from_arrays(prepare_own_case(first_case(hospital)).to_arrays())

    assert scan.brain is None and scan.as_seen().brain_on is None
    assert scan.tumors[0].classes["area"] == UNKNOWN and scan.tumors[0].classes["type"] == 0


def test_fine_voxels_are_kept_at_the_finest_resolution_that_is_looked_at(hospital, monkeypatch):
    monkeypatch.setattr(own_cases, "FINEST_KEPT_MM", 10.0)
    case = first_case(hospital)

    scan = prepare_own_case(case)

    assert scan.grid.spacing.tolist() == [10.0] * 3
    region = scan.tumors[0].regions["core"]
    middle = scan.grid.to_world([(a + b - 1) / 2 for a, b in zip(region[::2], region[1::2], strict=True)])
    assert np.abs(middle - read_volume(case.t1c).grid.to_world((8, 9, 9))).max() < 6


def test_every_case_that_cannot_be_used_is_named_with_its_column_and_file_and_the_others_are_trained_on(
    hospital, tmp_path
):
    def damage(number, case):
        if number == 8:
            mask = read_labels(case.mask)
            write_labels(case.mask, LabelMap(mask.data[1:], mask.affine))
        elif number == 9:
            mask = read_labels(case.mask)
            write_labels(case.mask, LabelMap(mask.data * 0, mask.affine))
        elif number == 10:
            volume = read_volume(case.t1c)
            data = volume.data.copy()
            data[5, 5, 5] = np.nan
            write_nifti(case.t1c, data, volume.affine, compressed=True)
        elif number == 11:
            return replace(two_types(number, case), mask_labels=ENHANCING_IS_3)
        elif number == 12:
            return replace(two_types(number, case), mask=None)
        elif number == 13:
            case.flair.write_bytes(b"no scan")
        elif number == 14:
            return replace(two_types(number, case), t1c=None)
        return two_types(number, case)

    manifest = hospital(17, damage)
    (tmp_path / "hospital" / "15_mask.nii.gz").unlink()
    table = (tmp_path / "hospital" / "manifest.csv").read_text()
    row = next(line for line in table.splitlines() if line.startswith("case16,"))
    (tmp_path / "hospital" / "manifest.csv").write_text(table.replace(row, row.replace("glioma", "astrocytoma")))

    said = []

    data = own_data(TrainingRequest(tmp_path / "run", manifest), lambda share, message: said.append(message))

    told = left_out(tmp_path / "run")
    assert said[-1] == f"Cases that cannot be used: 9, listed in {tmp_path / 'run' / 'left_out.txt'}"
    assert sum(len(of) for of in data.parts.values()) == 8 and data.left_out == len(told) == 9
    for number, column, why in (
        (8, "mask", "Resample it"),
        (9, "mask", "empty"),
        (10, "t1c", "not finite"),
        (11, "mask", "mask_scheme"),
        (12, "mask", "no mask"),
        (13, "flair", "13_flair.nii.gz"),
        (14, "t1c", "no file"),
    ):
        (line,) = [line for line in told if f"'case{number}'" in line]
        assert f"column {column!r}" in line and why in line
    assert any("row 17, column 'mask': there is no" in line for line in told)
    assert any("row 18, column 'type'" in line and "astrocytoma" in line for line in told)
    assert any("9 cases of the manifest" in sentence for sentence in data.failures(["type"]))


def test_a_manifest_without_enough_usable_masks_is_refused_with_the_first_reason(hospital, tmp_path):
    with pytest.raises(ManifestError, match=r"0 patients .*6 cases cannot be used; the first: Case 'case0'.*no mask"):
        data_of(hospital(6, lambda number, case: replace(case, mask=None)), tmp_path / "run")


def test_of_one_type_alone_no_type_is_learned_and_that_is_said(hospital, tmp_path):
    data = data_of(hospital(), tmp_path / "run")

    assert data.learned(["type"]) == []
    (sentence,) = data.failures(["type"])
    assert "type was not learned" in sentence and "glioma" in sentence


def test_masks_of_the_core_alone_teach_nothing_about_oedema(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SAMPLES", 3)
    data = data_of(hospital(change=lambda n, case: replace(two_types(n, case), mask_labels=None)), tmp_path / "run")
    chosen = calibration.calibrate(DefaultNetwork(widths=(8, 8, 8), tasks=TASKS), held_out_crops(data))

    assert any("whole tumor was not learned" in sentence for sentence in data.failures(["type"]))
    assert all(limits["whole"] == 0.5 for limits in chosen.thresholds.values())
    assert not any(name.startswith("whole") for name in chosen.measured)


def test_without_two_known_types_the_certainty_of_a_type_stays_as_it_is(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SAMPLES", 3)
    data = data_of(hospital(), tmp_path / "run")

    chosen = calibration.calibrate(DefaultNetwork(widths=(8, 8, 8), tasks=TASKS), held_out_crops(data))

    assert chosen.type_temperature == 1.0 and "type_accuracy" not in chosen.measured
    assert chosen.intervals["whole_with_box_around_core"]["n"] <= 2


def test_all_scans_of_a_patient_are_trained_on_or_none(hospital, tmp_path):
    data = data_of(
        hospital(12, lambda number, case: replace(two_types(number, case), patient=f"p{number // 2}")), tmp_path / "run"
    )

    assert all(len(scans) == 2 for of in data.parts.values() for scans in of.values())
    assert not set(data.parts["training"]) & set(data.parts["held out"])
    assert len(data.parts["held out"]) == 1


def test_a_training_does_not_go_on_with_other_patients(hospital, tmp_path):
    manifest, run = hospital(change=two_types), tmp_path / "run"
    data_of(manifest, run)
    (run / "checkpoint.pt").write_bytes(b"")
    data_of(manifest, run)
    (tmp_path / "hospital" / "3_mask.nii.gz").unlink()

    with pytest.raises(WeightsError, match="other patients"):
        data_of(manifest, run)


def test_a_scan_is_prepared_once_and_again_when_something_else_is_said_of_it(hospital, tmp_path, monkeypatch):
    manifest = hospital(change=two_types)
    before = data_of(manifest, tmp_path / "run").parts

    def refuse(case):
        raise AssertionError("it has been prepared")

    with monkeypatch.context() as patch:
        patch.setattr("TumorRetrievalLib.training.own_data.prepare_own_case", refuse)
        assert data_of(manifest, tmp_path / "run").parts == before
    table = (tmp_path / "hospital" / "manifest.csv").read_text()
    (tmp_path / "hospital" / "manifest.csv").write_text(table.replace("glioma", "metastasis"))
    assert data_of(manifest, tmp_path / "run").parts != before


def test_a_damaged_prepared_scan_is_said_to_be_one(tmp_path, hospital):
    store = ScanStore(tmp_path / "store", OwnScan)
    store.get_or_make("a", lambda: prepare_own_case(first_case(hospital)))
    assert store.read("a").core.data.any()
    path = tmp_path / "store" / "a.npz"
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(Exception, match="Delete it; it will be prepared again"):
        store.read("a")


def test_a_mask_of_another_patient_that_lies_in_the_air_is_refused(hospital):
    def in_the_air(number, case):
        volume = read_volume(case.t1c)
        data = volume.data.copy()
        data[:14] = 0
        write_volume(case.t1c, Volume(data, volume.affine))
        return replace(two_types(number, case), mask_labels=FOUR_LABELS)

    with pytest.raises(InvalidImage.__mro__[1], match="'case0', column 'mask'.*background"):
        prepare_own_case(first_case(hospital, in_the_air))
