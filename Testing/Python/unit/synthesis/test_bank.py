import io
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.synthesis import bank as bank_file
from TumorRetrievalLib.synthesis.bank import CROP, GeometryBank, draw, fill_bank
from TumorRetrievalLib.synthesis.fields import axes_of
from TumorRetrievalLib.synthesis.raster import rasterise


@pytest.fixture(scope="module")
def drawn():
    """A drawing and its geometry (seed 1)."""
    with torch.inference_mode():
        return draw(1)


@pytest.fixture
def bank(drawn, tmp_path, monkeypatch) -> GeometryBank:
    """A bank that holds patient 1."""
    monkeypatch.setattr(bank_file, "draw", lambda seed: drawn)
    bank = GeometryBank(tmp_path / "bank")
    bank.add(1)
    return bank


def test_a_patient_comes_back_as_it_was_drawn(bank, drawn):
    drawing, geometry = bank.read(1)

    assert drawing == drawn[0]
    for name in ("label", "lesion", "brain"):
        assert torch.equal(getattr(geometry, name), getattr(drawn[1], name))
    assert torch.equal(geometry.core, drawn[1].core)
    assert torch.equal(geometry.around.head, drawn[1].around.head)
    for name in ("gray", "white", "csf", "oedema"):
        assert torch.allclose(getattr(geometry, name), getattr(drawn[1], name).clamp(0, 1), atol=0.003)


def test_a_crop_shows_the_tumor_that_it_is_about_near_its_middle(drawn):
    drawing, geometry = drawn
    mine = (geometry.core & (geometry.lesion == drawing.focus)).numpy()

    middle = drawing.grid.to_world(np.argwhere(mine).mean(axis=0))

    assert mine.any()
    assert np.linalg.norm(middle - drawing.center_ras) < 0.2 * CROP * drawing.spacing_mm
    assert not mine[[0, -1]].any()


def test_a_drawing_says_where_its_crop_lies(drawn, plan_of):
    drawing, geometry = drawn
    again = rasterise(plan_of(drawing.tumor_type, drawing.seed), drawing.grid)

    assert torch.equal(again.label, geometry.label)
    assert len(axes_of(drawing.grid)[0]) == CROP


def test_adding_a_patient_that_is_there_leaves_its_file_alone(bank):
    path = bank.folder / "1.npz"
    path.write_bytes(b"kept")

    bank.add(1)

    assert path.read_bytes() == b"kept"


def test_filling_adds_the_patients_asked_for_to_those_that_are_there(bank):
    fill_bank(bank.folder, [16, 10])

    assert bank.seeds() == [1, 10, 16]


def test_a_bank_can_be_read_while_another_process_writes_to_it(bank):
    (bank.folder / ".tmp-1234abcd-77.npz").write_bytes(b"half a pati")

    assert bank.seeds() == [1]


def facts(drawn, **changes) -> np.ndarray:
    return np.array(json.dumps({**asdict(drawn[0]), **changes}))


def saved(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


VOXELS = np.zeros((10, CROP, CROP, CROP), np.uint8)
DAMAGE = {
    "empty": lambda good, drawn: b"",
    "text": lambda good, drawn: b"this is no patient",
    "cut in half": lambda good, drawn: good[: len(good) // 2],
    "one byte flipped": lambda good, drawn: good[:100_000] + bytes([good[100_000] ^ 0xFF]) + good[100_001:],
    "no drawing": lambda good, drawn: saved(voxels=VOXELS),
    "no voxels": lambda good, drawn: saved(drawing=facts(drawn)),
    "unknown fact": lambda good, drawn: saved(voxels=VOXELS, drawing=facts(drawn, surprise=1)),
    "facts that are a list": lambda good, drawn: saved(voxels=VOXELS, drawing=np.array("[1, 2]")),
    "facts that are no JSON": lambda good, drawn: saved(voxels=VOXELS, drawing=np.array("{")),
    "a channel missing": lambda good, drawn: saved(voxels=VOXELS[:9], drawing=facts(drawn)),
    "too few voxels": lambda good, drawn: saved(voxels=VOXELS[:, :5], drawing=facts(drawn)),
    "voxels of another type": lambda good, drawn: saved(voxels=VOXELS[:, 0, 0, 0] + 0.5, drawing=facts(drawn)),
    "a pickled object": lambda good, drawn: saved(voxels=np.array([{}], dtype=object), drawing=facts(drawn)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_can_be_deleted(bank, drawn, damage):
    path = bank.folder / "1.npz"
    path.write_bytes(DAMAGE[damage](path.read_bytes(), drawn))

    with pytest.raises(UnreadableFile, match=r"1\.npz.*Delete it"):
        bank.read(1)


def test_a_patient_that_is_not_there_is_named(bank):
    with pytest.raises(UnreadableFile, match=r"99\.npz"):
        bank.read(99)
