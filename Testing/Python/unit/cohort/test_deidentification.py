"""What is written on import holds nothing that names a patient, and hashes depend on a secret that stays."""

import gzip
import json
import stat

import pytest

from TumorRetrievalLib.cohort.importers.archive import import_archive
from TumorRetrievalLib.cohort.importers.deidentify import Hasher, load_salt
from TumorRetrievalLib.errors import CannotWrite, UnreadableFile

SECRET = "Zz9Secret"
BIRTHDAY = "19111111"
TEXTS = {"AE": 16, "SH": 16, "LO": 64, "ST": 200, "LT": 200, "UT": 200, "UC": 64, "PN": 64}
DATES = {"DA": BIRTHDAY, "DT": BIRTHDAY + "111111", "TM": "111111", "AS": "088Y"}


def identifying_headers() -> dict:
    """Every text and date that DICOM knows for patients, studies, series, devices and procedures."""
    from pydicom.datadict import DicomDictionary

    found = {}
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        if tag >> 16 in (0x8, 0x10, 0x18, 0x20, 0x32, 0x38, 0x40, 0x4008) and keyword:
            if vr in TEXTS and not retired and multiplicity in ("1", "1-n"):
                found[keyword] = f"{SECRET}{'^' if vr == 'PN' else ' '}{keyword}"[: TEXTS[vr]]
            elif vr in DATES and not retired:
                found[keyword] = DATES[vr]
    return found


def everything_written(folder) -> bytes:
    """The names and the unpacked contents of all files."""
    found = b""
    for path in sorted(folder.rglob("*")):
        found += path.relative_to(folder).as_posix().encode() + b"\n"
        if path.is_file():
            content = path.read_bytes()
            found += gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return found


@pytest.fixture
def identifying_study(dicom_folder):
    """A study whose every header, private element, file and folder holds the secret."""
    dicom_folder.headers = identifying_headers()
    folder = f"{SECRET}/{SECRET} {BIRTHDAY}"
    kinds = {"SeriesDescription": f"T1 post {SECRET}"}
    slices = dicom_folder.series(folder, names=SECRET + "-{}.dcm", **kinds)
    flair = dicom_folder.series(folder, names=SECRET + "-f{}.dcm", seed=1, SeriesDescription=f"FLAIR {SECRET}")
    for number, data in enumerate([*slices, *flair]):
        block = data.private_block(0x0011, SECRET, create=True)
        block.add_new(1, "LO", SECRET)
        block.add_new(2, "OB", SECRET.encode())
        data.add_new(0x60003000, "OW", SECRET.encode() + b"\0")
        name = f"{SECRET}-{number}.dcm" if number < len(slices) else f"{SECRET}-f{number - len(slices)}.dcm"
        data.save_as(dicom_folder.path / folder / name, enforce_file_format=True)
    marked = dicom_folder.marked((1, 2, 3))
    dicom_folder.seg(f"{folder}/{SECRET}.dcm", slices, [(f"{SECRET} tumor", "Neoplasm", marked)])
    return dicom_folder


def test_the_study_of_these_tests_is_full_of_what_must_not_get_out(identifying_study):
    assert len(identifying_study.headers) > 300
    assert everything_written(identifying_study.path).count(SECRET.encode()) > 2000


def test_nothing_that_is_written_or_indexed_names_the_patient(identifying_study, tmp_path):
    archive = import_archive(identifying_study.path, tmp_path / "copies", salt_file=tmp_path / "salt")

    assert archive.problems == ()
    (case,) = archive.cases
    assert case.mask is not None and case.flair is not None
    written = everything_written(tmp_path / "copies")
    uids = [getattr(data, name) for data in read_all(identifying_study) for name in data.dir("InstanceUID")]
    names = repr(case) + repr(archive.notes)
    for secret in (SECRET, BIRTHDAY, "111111", *uids):
        assert secret.encode() not in written
        assert secret not in names.replace(str(tmp_path), "")


def read_all(folder) -> list:
    import pydicom

    return [pydicom.dcmread(path) for path in folder.path.rglob("*.dcm")]


def test_the_record_names_the_profile_and_every_option(identifying_study, tmp_path):
    archive = import_archive(identifying_study.path, tmp_path / "copies", salt_file=tmp_path / "salt")

    record = json.loads((archive.cases[0].t1c.parent / "deidentification.json").read_text(encoding="utf-8"))

    method = record["deidentification"]
    assert "113100" in method["profile"]
    options = {text.split()[0] for text in method["options_applied"] + method["options_not_applied"]}
    assert options == {str(code) for code in range(113101, 113113)}
    assert len(record["source"]["files"]) == 9  # two series of four slices, and the segmentation


def test_the_text_in_an_image_keeps_it_out(dicom_folder, tmp_path):
    dicom_folder.series("a", BurnedInAnnotation="YES", **dicom_folder.T1C)

    archive = import_archive(dicom_folder.path, tmp_path / "copies", salt_file=tmp_path / "salt")

    assert archive.cases == ()
    assert not (tmp_path / "copies").exists()


# The salt


def test_the_same_salt_gives_the_same_names_and_another_gives_others(dicom_folder, tmp_path):
    dicom_folder.series("a", **dicom_folder.T1C)

    def names(salt, into):
        (case,) = import_archive(dicom_folder.path, tmp_path / into, salt_file=tmp_path / salt).cases
        return {case.id.removeprefix("case-"), case.patient.removeprefix("patient-")}

    first = names("salt", "copies")

    assert names("salt", "copies elsewhere") == first
    assert names("other salt", "others").isdisjoint(first)


def test_the_salt_is_secret_and_stays_the_same(tmp_path):
    salt = load_salt(tmp_path / "salt")

    assert len(salt) == 32
    assert stat.S_IMODE((tmp_path / "salt").stat().st_mode) == 0o600
    assert load_salt(tmp_path / "salt") == salt
    assert load_salt(tmp_path / "other") != salt


def test_a_salt_that_others_can_read_is_refused_with_what_to_do(tmp_path):
    load_salt(tmp_path / "salt")
    (tmp_path / "salt").chmod(0o644)

    with pytest.raises(UnreadableFile, match="chmod 600"):
        load_salt(tmp_path / "salt")


@pytest.mark.parametrize("content", [b"", b"salt", b"\xff" * 64, b"0" * 63])
def test_a_damaged_salt_is_not_replaced(tmp_path, content):
    path = tmp_path / "salt"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(UnreadableFile, match="holds no salt"):
        load_salt(path)
    assert path.read_bytes() == content


def test_a_salt_that_cannot_be_made_says_so(tmp_path):
    with pytest.raises(CannotWrite, match="nowhere"):
        load_salt(tmp_path / "nowhere" / "salt")


def test_a_patient_and_a_file_of_one_name_have_different_hashes():
    hasher = Hasher(bytes(32))

    assert hasher("patient", "x") != hasher("file", "x")
    assert hasher("patient", "x") == Hasher(bytes(32))("patient", "x")
