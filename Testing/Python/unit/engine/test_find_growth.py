"""`find` offers a growth simulation for gliomas, with the network's own masks, and goes on without one."""

import numpy as np
import pytest

from TumorRetrievalLib.engine import find_growth
from TumorRetrievalLib.engine.find import find_similar
from TumorRetrievalLib.engine.find_growth import grow_gliomas
from TumorRetrievalLib.engine.outline import Outline
from TumorRetrievalLib.engine.patient import Patient
from TumorRetrievalLib.errors import Cancelled, InvalidTumorMask
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.imaging.volume import Volume

GLIOMA, MENINGIOMA = {"glioma": 0.7, "meningioma": 0.3}, {"glioma": 0.2, "meningioma": 0.8}


@pytest.fixture
def patient():
    scan = Volume(np.random.default_rng(0).random((20, 20, 20)), np.eye(4))
    return Patient("someone", scan, None, Scan.of(scan), alignment=object())


@pytest.fixture
def grown(monkeypatch):
    """The masks and folders that were asked for; `grown.fails` is raised, if set."""

    class Grown(list):
        fails = None

    asked = Grown()

    def grow_tumor(patient, core, whole, out, options, *, masks_from, progress, **_):
        if asked.fails:
            raise asked.fails
        asked.append((int(core.data.sum()), int(whole.data.sum()), out.name, masks_from))
        progress(0.5, "Growing")
        return {"parameters": {"lambda_mm2": 4.0}, "dice": {"refined": None}, "matches": []}

    monkeypatch.setattr(find_growth, "grow_tumor", grow_tumor)
    monkeypatch.setattr(find_growth, "load_simulations", lambda: None)
    return asked


def outline(first: int, core_edge: int, whole_edge: int) -> Outline:
    region = (slice(first, first + whole_edge),) * 3
    core = np.zeros((whole_edge,) * 3, bool)
    core[(slice(0, core_edge),) * 3] = True
    return Outline(region, core, np.ones((whole_edge,) * 3, bool), 0.0, 0.0)


def test_only_gliomas_grow_each_in_a_folder_of_its_own(patient, grown, tmp_path):
    tumors = [(MENINGIOMA, outline(0, 2, 4)), (GLIOMA, outline(5, 3, 5)), (GLIOMA, outline(12, 2, 6))]
    notes, fractions = [], []

    found = grow_gliomas(patient, tumors, tmp_path, notes, lambda fraction, _: fractions.append(fraction))

    assert grown == [(27, 125, "growth_2", "network"), (8, 216, "growth_3", "network")]
    assert [f and f["folder"] for f in found] == [None, "growth_2", "growth_3"]
    assert fractions == sorted(fractions) and notes == []


def test_where_nothing_is_a_glioma_the_reader_is_told(patient, grown, tmp_path):
    notes = []

    assert grow_gliomas(patient, [(MENINGIOMA, outline(0, 2, 4))], tmp_path, notes, lambda *_: None) == [None]
    assert "most likely gliomas" in notes[0]


def test_without_the_atlas_nothing_grows(patient, grown, tmp_path):
    notes = []
    patient.alignment = None

    assert grow_gliomas(patient, [(GLIOMA, outline(0, 2, 4))], tmp_path, notes, lambda *_: None) == [None]
    assert "atlas" in notes[0] and not grown


def test_a_tumor_that_cannot_be_fitted_leaves_a_note_and_the_rest_of_the_result(patient, grown, tmp_path):
    notes = []
    grown.fails = InvalidTumorMask("The mask of the tumor core is empty.")

    assert grow_gliomas(patient, [(GLIOMA, outline(0, 2, 4))], tmp_path, notes, lambda *_: None) == [None]
    assert "tumor 1 was not simulated: The mask of the tumor core is empty." in notes[0]


def test_stopping_stops(patient, grown, tmp_path):
    grown.fails = Cancelled("stopped")

    with pytest.raises(Cancelled):
        grow_gliomas(patient, [(GLIOMA, outline(0, 2, 4))], tmp_path, [], lambda *_: None)


def test_the_report_of_similar_cases_links_the_simulation(request_for, monkeypatch):
    def grow(patient, tumors, out, notes, progress):
        return [{"folder": "growth_1", "parameters": {}, "dice": {}} for _ in tumors]

    monkeypatch.setattr(find_growth, "grow_gliomas", grow)
    request = request_for(growth=True)
    result = find_similar(request)

    assert result["tumors"][0]["growth"]["folder"] == "growth_1"
    assert 'href="growth_1/growth.html"' in (request.out / "report.html").read_text()


def test_nothing_grows_unless_asked_for(request_for, monkeypatch):
    monkeypatch.setattr(find_growth, "grow_gliomas", None)

    assert "growth" not in find_similar(request_for())["tumors"][0]
