"""Files of slices, also hostile ones, and how slices are divided."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidSlices
from TumorRetrievalLib.training.slice_data import patient_folds, random_fifth, random_folds, read_slices


def test_what_is_in_the_file_is_read(file_of, slices):
    found = read_slices(file_of())

    assert np.array_equal(found.images, slices.images)
    assert np.array_equal(found.labels, slices.labels)
    assert np.array_equal(found.masks, slices.masks)
    assert np.array_equal(found.folds, slices.folds)
    assert found.mask_known.all()


def test_a_file_without_masks_or_folds_says_so(file_of):
    found = read_slices(file_of(mask_packed=None, fold=None))

    assert not found.mask_known.any() and found.folds is None
    with pytest.raises(InvalidSlices, match="not divided by patients"):
        patient_folds(found)


def test_some_masks_can_be_missing(file_of):
    known = np.arange(24) % 2 == 0

    assert np.array_equal(read_slices(file_of(mask_known=known)).mask_known, known)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "lacks the array label"),
        ({"image": None, "label": None}, "lacks the array image and label"),
        ({"image": np.zeros((24, 64, 64), np.uint8)}, r"image.*\(24, 64, 64\)"),
        ({"image": np.zeros((23, 128, 128), np.uint8)}, "image.*with 24 labels"),
        ({"image": np.zeros((24, 128, 128), np.float32)}, "image.*float32"),
        ({"image": np.zeros((24, 128, 128), np.uint16)}, "image.*uint16"),
        ({"label": np.full(24, 1.5)}, "label.*float64.*whole numbers"),
        ({"label": np.full(24, 4)}, "reach from 4 to 4"),
        ({"label": np.full(24, -1)}, "reach from -1"),
        ({"label": np.array(3)}, "holds 0 slices"),
        ({"mask_packed": np.zeros((24, 128, 128), np.uint8)}, "mask_packed"),
        ({"mask_known": np.ones(24, np.uint8)}, "mask_known.*bool"),
        ({"fold": np.zeros((24, 2), np.uint8)}, "fold"),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(file_of, changes, message):
    with pytest.raises(InvalidSlices, match=message):
        read_slices(file_of(**changes))


def test_no_slices_are_refused(file_of):
    nothing = {"image": np.zeros((0, 128, 128), np.uint8), "label": np.zeros(0, np.uint8)}

    with pytest.raises(InvalidSlices, match="holds 0 slices"):
        read_slices(file_of(**nothing, mask_packed=None, fold=None))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["image", "label", "mask_packed"])
def test_nothing_is_unpickled(file_of, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bombs = np.empty(24, object)
    bombs[:] = [Bomb() for _ in range(24)]

    with pytest.raises(InvalidSlices):
        read_slices(file_of(**{name: bombs}))

    assert not (tmp_path / "exploded").exists()


def test_a_pickle_under_the_name_of_an_npz_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slices.npz").write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(InvalidSlices, match="cannot be read"):
        read_slices(tmp_path / "slices.npz")

    assert not (tmp_path / "exploded").exists()


def test_a_header_that_promises_terabytes_costs_no_memory(file_of, tmp_path):
    path = file_of()
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "large.npz", "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "image.npy":
                content = content.replace(b"(24, 128, 128), }    ", b"(240000000, 128, 128)")
            changed.writestr(name, content)

    with pytest.raises(InvalidSlices):
        read_slices(tmp_path / "large.npz")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InvalidSlices, match="cannot be read"):
        read_slices(tmp_path / "nothing.npz")


@given(st.integers(0, 10_000))
def test_a_truncated_file_is_refused(tmp_path_factory, slices, cut):
    path = tmp_path_factory.mktemp("cut") / "slices.npz"
    np.savez_compressed(path, image=slices.images[:2], label=slices.labels[:2])
    content = path.read_bytes()
    path.write_bytes(content[: cut % len(content)])

    with pytest.raises(InvalidSlices):
        read_slices(path)


def test_one_type_alone_is_nothing_to_learn_from(slices):
    with pytest.raises(InvalidSlices, match=r"same type \(glioma\)"):
        slices.take(slices.labels == 2).require_trainable()


def test_no_patient_is_on_both_sides_of_a_fold(slices):
    folds = patient_folds(slices)

    assert len(folds) == 2
    tested = np.concatenate([test for _, test in folds.values()])
    assert sorted(tested) == list(range(24)), "every slice is tested once"
    for train, test in folds.values():
        assert not set(slices.folds[train]) & set(slices.folds[test])
        assert len(train) + len(test) == 24


@given(st.integers(10, 300), st.integers(0, 5))
def test_a_random_fifth_is_a_fifth_and_the_folds_share_out_the_rest(count, seed):
    rest, test = random_fifth(count, seed)

    assert len(test) == round(count / 5)
    assert sorted([*rest, *test]) == list(range(count))
    validated = []
    for train, validate in random_folds(rest, 5, seed):
        assert sorted([*train, *validate]) == rest.tolist()
        validated += validate.tolist()
    assert sorted(validated) == rest.tolist()


def test_a_slice_is_recognised_by_its_pixels(slices):
    changed = slices.images.copy()
    changed[3, 0, 0] += 1
    digests = slices.digests()

    other = type(slices)(changed, slices.labels, slices.masks, slices.mask_known, None).digests()

    assert [n for n in range(24) if digests[n] != other[n]] == [3]
