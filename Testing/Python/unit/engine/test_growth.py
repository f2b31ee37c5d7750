"""A growth simulation from files to files: it lies on the tumor, on its side, and says what it cannot know."""

import json

import numpy as np
import pytest
import SimpleITK

from TumorRetrievalLib.engine import growth
from TumorRetrievalLib.engine.growth import GrowthOptions, GrowthRequest, fit_growth, load_simulations
from TumorRetrievalLib.errors import (
    Cancelled,
    InvalidBox,
    InvalidTumorMask,
    RegistrationFailed,
    SimulationsDamaged,
    SimulationsOfAnotherAtlas,
    UnreadableFile,
)
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.database import SimulationDatabase, write_database
from TumorRetrievalLib.growth.solver import simulate_to_volumes
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.synthesis.scan import synthesize


@pytest.fixture(scope="module")
def case():
    """The sample patient with the truth: a glioma on the left."""
    return synthesize(7, "glioma")


@pytest.fixture(scope="module")
def database(tmp_path_factory, case):
    """Simulated tumors around the patient's, as many at the same places of the other side, and some elsewhere."""
    atlas, rng = load_growth_atlas(), np.random.default_rng(1)
    place = case.tumors[0].atlas_mm
    origins = [*(place + rng.uniform(-10, 10, (4, 3))), (30.0, -60.0, 25.0)]
    origins += [np.array(origin) * (-1, 1, 1) for origin in origins]
    snapshots = []
    for origin in origins:
        nearest = _nearest_tissue(atlas, origin)
        snapshots += simulate_to_volumes(atlas, nearest, 4.0, (15.0, 40.0, 90.0))
    parameters = np.array(
        [(*s.parameters.origin, s.parameters.spread, s.parameters.tau) for s in snapshots], np.float32
    )
    whole, core = (gather([pack(getattr(s, name).data) for s in snapshots]) for name in ("whole", "core"))
    path = tmp_path_factory.mktemp("simulations") / "few.growth"
    write_database(path, SimulationDatabase(parameters, whole, core, atlas.grid, atlas.fingerprint, {}))
    return path


def _nearest_tissue(atlas, origin):
    voxels = np.argwhere(atlas.tissue)
    points = atlas.grid.to_world(voxels).astype(np.float32)
    return tuple(float(x) for x in points[np.argmin(np.linalg.norm(points - origin, axis=1))])


@pytest.fixture(scope="module")
def files(tmp_path_factory, case):
    folder = tmp_path_factory.mktemp("patient")
    write_volume(folder / "t1c.nii.gz", case.t1c)
    write_volume(folder / "flair.nii.gz", case.flair)
    write_labels(folder / "core.nii.gz", case.tumors[0].core)
    write_labels(folder / "whole.nii.gz", case.tumors[0].whole)
    return folder


@pytest.fixture(scope="module")
def make_request(files, database):
    def make(out, *, options=None, **changes) -> GrowthRequest:
        usual = {
            "t1c": files / "t1c.nii.gz",
            "flair": files / "flair.nii.gz",
            "core": files / "core.nii.gz",
            "whole": files / "whole.nii.gz",
            "out": out,
            "options": GrowthOptions(**{"k": 4, "database": database, "refined": False, "deformable": False}
                                     | (options or {})),
        }  # fmt: skip
        return GrowthRequest(**{**usual, **changes})

    return make


@pytest.fixture(scope="module")
def everything(tmp_path_factory, make_request):
    """The result of all steps: bent, refined, compared."""
    out = tmp_path_factory.mktemp("everything")
    return out, fit_growth(make_request(out, options={"refined": True, "deformable": True}))


def centroid(image) -> np.ndarray:
    return np.average(image.grid.voxel_centres(), axis=0, weights=image.data.ravel().astype(float))


def test_the_density_lies_on_the_tumor_and_on_its_side(everything, case):
    out, _ = everything
    density = read_volume(out / "density.nii.gz")

    assert np.linalg.norm(centroid(density) - centroid(case.tumors[0].whole)) < 8
    assert centroid(case.tumors[0].whole)[0] < -10 and centroid(density)[0] < -10


def test_all_images_lie_on_the_scans_own_grid(everything, case):
    out, result = everything

    for name in ("density", "spread"):
        assert read_volume(out / result["files"][name]).grid.same_as(case.t1c.grid, tolerance_mm=1e-3)
    for name in ("contours", "tumor_core", "whole_tumor"):
        assert read_labels(out / result["files"][name]).grid.same_as(case.t1c.grid, tolerance_mm=1e-3)


def test_the_contours_are_those_of_the_density(everything):
    out, result = everything
    density, contours = read_volume(out / "density.nii.gz"), read_labels(out / "contours.nii.gz")

    assert density.data.min() >= 0 and density.data.max() <= 1
    assert np.array_equal(contours.data >= 1, density.data >= 0.2)
    assert np.array_equal(contours.data == 2, density.data >= 0.6)
    assert result["volumes_ml"]["density_from_0.2"] == pytest.approx(contours.volume_ml(), abs=1e-3)


def test_the_refinement_is_no_worse_than_the_best_match(everything):
    _, result = everything

    assert result["dice"]["refined"]["combined"] >= result["dice"]["retrieval"]["combined"] - 1e-3
    assert result["dice"]["retrieval"]["combined"] == result["matches"][0]["combined"]
    assert abs(result["dice"]["in_patient"]["combined"] - result["dice"]["refined"]["combined"]) < 0.15
    assert [m["combined"] for m in result["matches"]] == sorted(
        (m["combined"] for m in result["matches"]), reverse=True
    )


def test_only_lambda_and_tau_are_numbers_and_d_rho_and_t_a_family(everything):
    _, result = everything
    parameters = result["parameters"]

    assert not {"d", "rho", "t", "days"} & {name.lower() for name in parameters}
    assert len(parameters["same_tumor"]) > 1
    for member in parameters["same_tumor"]:
        assert member["d_mm2_per_day"] / member["rho_per_day"] == pytest.approx(parameters["lambda_mm2"], rel=0.01)
        assert member["rho_per_day"] * member["days"] == pytest.approx(parameters["tau"], rel=0.01)


def test_a_front_sharper_than_the_voxels_is_said_to_be_one(everything, make_request, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "_SHARPEST_MM2", 50.0)

    assert not any("sharper" in note for note in everything[1]["notes"])
    assert any("sharper than the simulation's voxels" in note for note in fit_growth(make_request(tmp_path))["notes"])


def test_the_transforms_take_the_origin_from_the_atlas_to_the_patient_and_back(everything):
    out, result = everything
    flip = np.array((-1.0, -1.0, 1.0))
    to_patient, to_atlas = (
        SimpleITK.ReadTransform(str(out / result["files"][name])) for name in ("atlas_to_patient", "patient_to_atlas")
    )
    in_atlas = np.array(result["parameters"]["origin_atlas_mm"])

    in_patient = np.array(to_patient.TransformPoint(tuple(in_atlas * flip))) * flip
    returned = np.array(to_atlas.TransformPoint(tuple(in_patient * flip))) * flip

    assert np.abs(in_patient - result["parameters"]["origin_patient_mm"]).max() < 0.05
    assert np.abs(returned - in_atlas).max() < result["registration"]["inverse_error_mm"] + 0.05
    assert result["registration"]["stage"] == "deformable"


def test_the_result_is_written_as_it_is_returned_and_the_page_claims_nothing(everything):
    out, result = everything
    page = (out / "growth.html").read_text(encoding="utf-8").lower()

    assert json.loads((out / "result.json").read_text()) == result
    assert "research use only" in page
    assert not any(word in page for word in ("recur", "diagnos", "prognos", "relapse"))


def test_the_spread_is_zero_where_there_is_one_match_only(make_request, tmp_path):
    result = fit_growth(make_request(tmp_path, options={"k": 1}))

    assert read_labels(tmp_path / "contours.nii.gz").data.any()
    assert result["dice"]["refined"] is None and len(result["matches"]) == 1
    with pytest.raises(Exception, match="shows nothing"):
        read_volume(tmp_path / "spread.nii.gz")


def test_where_no_bend_can_be_right_the_affine_is_used_and_the_reader_is_told(make_request, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RegistrationFailed("it folds.")

    monkeypatch.setattr(growth, "bend_to_atlas", fail)
    result = fit_growth(make_request(tmp_path, options={"deformable": True}))

    assert result["registration"]["stage"] in ("affine", "similarity")
    assert any("Only the affine" in note and "it folds." in note for note in result["notes"])


def test_a_scan_that_is_nowhere_in_the_atlas_gives_no_result(make_request, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RegistrationFailed("Nothing fits.")

    monkeypatch.setattr("TumorRetrievalLib.engine.patient.register_to_atlas", fail)

    with pytest.raises(RegistrationFailed, match=r"Nothing fits\..*whole brain"):
        fit_growth(make_request(tmp_path))
    assert not (tmp_path / "result.json").exists()


def test_swapped_masks_are_refused_before_any_work(make_request, files, tmp_path):
    request = make_request(tmp_path, core=files / "whole.nii.gz", whole=files / "core.nii.gz")

    with pytest.raises(InvalidTumorMask, match="mistaken"):
        fit_growth(request)


def test_a_tumor_beyond_the_brain_is_refused(make_request, files, case, tmp_path):
    brain = np.argwhere(case.brain.data)
    low = brain.min(axis=0)
    shell = np.zeros(case.t1c.shape, np.uint8)
    shell[low[0] - 6 : low[0] + 1, 60:75, 60:75] = 1
    scan = case.t1c.data.copy()
    scan[shell > 0] = scan.max()
    write_volume(tmp_path / "odd.nii.gz", Volume(scan, case.t1c.affine))
    write_labels(tmp_path / "shell.nii.gz", LabelMap(shell, case.t1c.affine))

    with pytest.raises(InvalidTumorMask, match="outside the brain"):
        fit_growth(
            make_request(
                tmp_path / "out",
                t1c=tmp_path / "odd.nii.gz",
                core=tmp_path / "shell.nii.gz",
                whole=tmp_path / "shell.nii.gz",
            )
        )


def test_without_a_box_and_without_both_masks_the_user_is_asked_for_them(make_request, tmp_path):
    for changes in ({"core": None, "whole": None}, {"core": None}):
        with pytest.raises(InvalidBox, match="Say where the tumor is"):
            fit_growth(make_request(tmp_path, **changes))


def test_a_box_is_outlined_by_the_network_and_fitted(make_request, tmp_path, case, monkeypatch):
    def outlined(patient, request):
        assert request.box is case.tumors[0].box
        return case.tumors[0].core, case.tumors[0].whole

    monkeypatch.setattr(growth, "_outlined", outlined)
    result = fit_growth(make_request(tmp_path, core=None, whole=None, box=case.tumors[0].box))

    assert result["tumor"]["masks_from"] == "network"


def test_a_damaged_missing_or_foreign_database_is_named(make_request, database, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.growth"
    damaged.write_bytes(database.read_bytes()[:-100])

    with pytest.raises(SimulationsDamaged, match="damaged.growth"):
        load_simulations(damaged)
    with pytest.raises(UnreadableFile, match="none.growth"):
        load_simulations(tmp_path / "none.growth")
    monkeypatch.setattr(SimulationDatabase, "require_atlas", _refuse)
    with pytest.raises(SimulationsOfAnotherAtlas):
        fit_growth(make_request(tmp_path / "out"))


def _refuse(self, atlas):
    raise SimulationsOfAnotherAtlas("of another atlas")


def test_stopping_in_the_middle_leaves_no_result(make_request, tmp_path):
    def stop_at_half(fraction, _message):
        if fraction > 0.5:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fit_growth(make_request(tmp_path), progress=stop_at_half)
    assert not (tmp_path / "result.json").exists()


def test_progress_only_goes_forward(make_request, tmp_path):
    fractions = []

    fit_growth(make_request(tmp_path), progress=lambda fraction, _: fractions.append(fraction))

    assert fractions == sorted(fractions) and fractions[-1] == 1.0
