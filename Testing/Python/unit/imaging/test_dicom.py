import numpy as np
import pytest

from TumorRetrievalLib.engine.patient import open_patient
from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, read_volume

SERIES = "1.2.826.0.1.3680043.8.498.1"
OTHER_SERIES = "1.2.826.0.1.3680043.8.498.2"
ROWS, COLUMNS, SLICES = 6, 5, 4


def pixels(number: int) -> np.ndarray:
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 100 * number).astype(np.uint16)


def write_slice(folder, number: int, name=None, **changes):
    """One axial slice, 0.8 x 0.7 x 5 mm, at S = 5 * number; `changes` overwrite or (None) remove elements."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"{SERIES}.{number + 1}"
    data.Modality, data.PatientName, data.PatientID = "MR", "Test", "1"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = f"{SERIES}.0", SERIES, 3
    data.SeriesDescription, data.InstanceNumber = "T1 with contrast", number + 1
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-20, -30, 5.0 * number]
    data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 5
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = pixels(number).tobytes()
    for element, value in changes.items():
        if value is None:
            delattr(data, element)
        else:
            setattr(data, element, value)
    path = folder / (name or f"slice{number}.dcm")
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def series(tmp_path):
    """A folder with a good series, whose file names are not in the order of the slices."""
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(SLICES):
        write_slice(folder, number, name=f"IM{(7 * number) % SLICES}")
    return folder


def test_a_series_is_stacked_by_position_and_lies_where_its_headers_say(series):
    volume = read_volume(series)

    assert volume.shape == (COLUMNS, ROWS, SLICES)
    assert np.array_equal(volume.data, np.stack([pixels(number).T for number in range(SLICES)], axis=2))
    # LPS (-20, -30, 0) is RAS (20, 30, 0); columns are 0.7 mm apart towards the left, rows 0.8 mm towards the back.
    assert volume.affine.tolist() == [[-0.7, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 5, 0], [0, 0, 0, 1]]


def test_simpleitk_finds_every_voxel_at_the_same_place_also_on_an_oblique_scan(tmp_path):
    import SimpleITK
    from scipy.spatial.transform import Rotation

    axes = Rotation.from_rotvec((0.3, -0.4, 0.2)).as_matrix()
    for number in range(SLICES):
        write_slice(
            tmp_path,
            number,
            ImageOrientationPatient=[float(f"{x:.9f}") for x in axes[:, :2].T.ravel()],
            ImagePositionPatient=[float(f"{x:.6f}") for x in axes @ (3, 4, 5 * number)],
        )
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()

    volume = read_volume(tmp_path)

    for index in np.ndindex(volume.shape):
        left, back, up = image.TransformIndexToPhysicalPoint([int(n) for n in index])
        ours = np.round(volume.grid.to_voxel((-left, -back, up))).astype(int)
        assert volume.data[tuple(ours)] == image[tuple(int(n) for n in index)]


def test_each_slice_has_its_own_intensity_scale(tmp_path):
    for number in range(3):
        write_slice(tmp_path, number, RescaleSlope=1 + number, RescaleIntercept=-10)

    volume = read_volume(tmp_path)

    for number in range(3):
        assert np.allclose(volume.data[:, :, number], pixels(number).T * (1.0 + number) - 10)


def test_notes_and_hidden_files_beside_the_slices_are_passed_over(series):
    (series / "report.txt").write_text("a note")
    (series / ".DS_Store").write_bytes(b"x")
    (series / "inner").mkdir()

    assert read_volume(series).shape[2] == SLICES


OTHERS = {
    "Segmentation": ("66.4", {"NumberOfFrames": 10, "Modality": "SEG", "SeriesInstanceUID": OTHER_SERIES}),
    "RT Structure Set": ("481.3", {"PixelData": None, "Rows": None, "Columns": None, "Modality": "RTSTRUCT"}),
    "Enhanced SR": ("88.22", {"PixelData": None, "ImagePositionPatient": None, "Modality": "SR"}),
    "Grayscale Softcopy Presentation State": ("11.1", {"PixelData": None, "Rows": None, "Modality": "PR"}),
    "Spatial Registration": ("66.1", {"PixelData": None, "Rows": None, "Modality": "REG"}),
    "Encapsulated PDF": ("104.1", {"PixelData": None, "Rows": None, "Modality": "DOC"}),
}
"""What a station leaves beside the slices: name -> SOP class, and how its elements differ from a slice's."""


def write_other(folder, kind: str, name: str):
    sop_class, changes = OTHERS[kind]
    return write_slice(folder, 7, name=name, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop_class}", **changes)


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_scan_is_passed_over_with_a_note(series, kind):
    alone, notes = read_volume(series), []
    write_other(series, kind, "other1.dcm")
    write_other(series, kind, "other2.dcm")

    volume = read_volume(series, notes)

    assert np.array_equal(volume.data, alone.data) and np.array_equal(volume.affine, alone.affine)
    assert notes == [f"Beside the slices in series lies what is no scan, and was passed over: {kind} (2)."]


def test_a_folder_of_slices_alone_needs_no_note(series):
    notes = []
    read_volume(series, notes)

    assert notes == []


def test_a_folder_in_which_no_scan_is_left_is_refused_and_says_what_it_holds(tmp_path):
    write_other(tmp_path, "Segmentation", "a.dcm")
    write_other(tmp_path, "Enhanced SR", "b.dcm")

    with pytest.raises(UnreadableFile, match=r"holds no scan, only: Enhanced SR \(1\), Segmentation \(1\)"):
        read_volume(tmp_path)


def test_a_reader_of_the_result_is_told_what_was_passed_over(series):
    write_other(series, "RT Structure Set", "structures.dcm")

    assert "RT Structure Set (1)" in open_patient(series).notes[0]


@pytest.mark.parametrize(
    "content", [b"", b"not DICOM at all", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 300]
)
def test_one_broken_file_is_named_and_not_taken_for_a_missing_slice(series, content):
    (series / "IM1").write_bytes(content)

    with pytest.raises(UnreadableFile, match=r"IM1 is.*damaged.*again"):
        read_volume(series)


def test_a_slice_cut_off_anywhere_is_refused_or_complete(series):
    whole = (series / "IM1").read_bytes()
    for length in [*range(0, len(whole), 37), *range(len(whole) - 13, len(whole))]:
        (series / "IM1").write_bytes(whole[:length])
        with pytest.raises(UnreadableFile, match="IM1"):
            read_volume(series)


def test_random_damage_is_read_or_refused_but_never_a_traceback(series, rng):
    whole = (series / "IM1").read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(132, len(whole) - ROWS * COLUMNS * 2, 3):
            content[place] = rng.integers(0, 256)
        (series / "IM1").write_bytes(content)
        try:
            read_volume(series)
        except TumorRetrievalError as error:
            assert str(series) in str(error)


def test_a_folder_with_two_series_lists_them_and_chooses_none(series):
    write_slice(series, 0, name="other.dcm", SeriesInstanceUID=OTHER_SERIES, SeriesNumber=9, SeriesDescription="FLAIR")

    with pytest.raises(UnreadableFile, match=r"2 series.*3: T1 with contrast \(4 files\); 9: FLAIR \(1 files\)"):
        read_volume(series)


def test_a_missing_slice_in_the_middle_is_noticed_and_its_neighbours_named(tmp_path):
    for number in (0, 1, 2, 4, 5):
        write_slice(tmp_path, number)

    with pytest.raises(UnreadableFile, match=r"10\.00 mm lie between slice2\.dcm and slice4\.dcm, and 5\.00"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Rows": 5}, "another size"),
        ({"PixelSpacing": [1, 1]}, "another size"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "at an angle"),
        ({"ImagePositionPatient": [-20, -30, 0]}, "at one place"),
        ({"ImagePositionPatient": [-10, -30, 5]}, "shifted against each other"),
        ({"ImagePositionPatient": None}, "where it lies"),
        ({"ImageOrientationPatient": None}, "where it lies"),
        ({"PixelSpacing": None}, "where it lies"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"NumberOfFrames": 10}, "many frames"),
        ({"Rows": 0}, "slice1.dcm"),
        ({"Rows": 65535, "Columns": 65535}, "truncated"),
    ],
)
def test_a_slice_that_does_not_belong_to_the_stack_is_refused(tmp_path, changes, says):
    for number in range(3):
        write_slice(tmp_path, number, **(changes if number == 1 else {}))

    with pytest.raises(TumorRetrievalError, match=says):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"PixelSpacing": [0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
    ],
)
def test_an_orientation_that_cannot_be_is_refused(tmp_path, changes):
    for number in range(3):
        write_slice(tmp_path, number, **changes)

    with pytest.raises(InvalidImage):
        read_volume(tmp_path)


def test_a_single_slice_is_no_scan_and_a_folder_without_dicom_says_what_to_give(tmp_path):
    with pytest.raises(UnreadableFile, match="no DICOM files"):
        read_volume(tmp_path)

    write_slice(tmp_path, 0)
    with pytest.raises(InvalidImage, match="single slice"):
        read_volume(tmp_path)


def test_segmentations_are_not_read_from_folders(series):
    with pytest.raises(UnreadableFile, match="NIfTI or NRRD"):
        read_labels(series)


def test_slices_of_a_scanners_usual_size_are_read(tmp_path):
    images = [np.random.default_rng(number).integers(0, 1000, (256, 200)).astype(np.uint16) for number in range(3)]
    for number, image in enumerate(images):
        write_slice(tmp_path, number, Rows=256, Columns=200, PixelData=image.tobytes())

    volume = read_volume(tmp_path)

    assert np.array_equal(volume.data, np.stack([image.T for image in images], axis=2))


def test_a_usual_slice_that_is_cut_off_is_refused(tmp_path):
    for number in range(3):
        write_slice(tmp_path, number, Rows=256, Columns=200, PixelData=bytes(256 * 200 * 2))
    path = sorted(tmp_path.iterdir())[1]
    path.write_bytes(path.read_bytes()[:-50_000])

    with pytest.raises(UnreadableFile, match="truncated|damaged"):
        read_volume(tmp_path)
