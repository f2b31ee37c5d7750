"""A cohort survives its CSV file, and a wrong file is refused with the row, the column and the reason."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.cohort.case import MASK_ORIGINS, Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.label_schemes import SCHEMES
from TumorRetrievalLib.cohort.labels import AREAS, FRONT_REAR, SIDES, TYPES, UPPER_LOWER
from TumorRetrievalLib.cohort.manifest import read_manifest, write_manifest
from TumorRetrievalLib.errors import CannotWrite, ManifestError, UnknownLabel
from TumorRetrievalLib.imaging.box import Box

FILES = ("t1c.nii.gz", "flair, second.nii.gz", "séries/mask.nrrd")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A folder with a few files that a manifest may name."""
    folder = tmp_path_factory.mktemp("archive")
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def manifest(archive: Path, *lines: str) -> Path:
    path = archive / "cohort.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(archive: Path, *lines: str, error=ManifestError) -> str:
    with pytest.raises(error) as caught:
        read_manifest(manifest(archive, *lines))
    return str(caught.value)


# Reading


def test_the_smallest_manifest_is_three_columns(archive):
    path = manifest(archive, "case,patient,t1c", "scan 1,Ms. A,t1c.nii.gz")

    assert read_manifest(path) == [Case(id="scan 1", patient="Ms. A", t1c=archive / "t1c.nii.gz")]


def test_a_full_row_is_understood(archive):
    path = manifest(
        archive,
        "patient,case,mask,t1c,box,type,area,left_right,front_rear,upper_lower,core_ml,linear_size_mm,atlas_mm",
        'A,a,séries/mask.nrrd,t1c.nii.gz,"-30,20,25,40,41,42",meningioma,frontal lobe,left,front,upper,'
        '1.5,17,"-31,22,30"',
    )

    (case,) = read_manifest(path)
    (tumor,) = case.tumors

    assert case.mask == archive / "séries" / "mask.nrrd"
    assert (tumor.type, tumor.area, tumor.left_right) == ("meningioma", "frontal lobe", "left")
    assert (tumor.core_ml, tumor.linear_size_mm, tumor.whole_ml) == (1.5, 17.0, None)
    assert tumor.atlas_mm == (-31.0, 22.0, 30.0)
    assert tumor.box.center.tolist() == [-30, 20, 25]
    assert tumor.box.size.tolist() == [40, 41, 42]


def test_rows_that_stand_together_are_the_tumors_of_one_case(archive):
    path = manifest(
        archive,
        "case,patient,t1c,tumor,type",
        "a,A,t1c.nii.gz,,metastasis",
        "a,A,t1c.nii.gz,,metastasis",
        "b,B,t1c.nii.gz,,",
        "c,C,t1c.nii.gz,left one,glioma",
    )

    cases = read_manifest(path)

    assert [[tumor.id for tumor in case.tumors] for case in cases] == [["1", "2"], [], ["left one"]]


def test_a_spreadsheets_byte_order_mark_blank_lines_and_line_ends_do_no_harm(archive):
    path = archive / "excel.csv"
    path.write_bytes("case,patient,t1c\r\n\r\nü,Ü,t1c.nii.gz\r\n".encode("utf-8-sig"))

    assert [case.id for case in read_manifest(path)] == ["ü"]


def test_an_archive_in_another_place_is_named_by_root(archive, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("case,patient,t1c\na,A,t1c.nii.gz\n")

    assert read_manifest(path, root=archive)[0].t1c == archive / "t1c.nii.gz"


# Wrong tables: each message says where and what


def test_a_missing_column_is_named(archive):
    assert "the column 'patient' is missing" in refusal(archive, "case,t1c", "a,t1c.nii.gz")


def test_an_unknown_column_is_named_with_the_allowed_ones(archive):
    message = refusal(archive, "case,patient,t1c,tpye", "a,A,t1c.nii.gz,glioma")

    assert "row 1: unknown column 'tpye'. Allowed: case, patient" in message


def test_a_column_that_is_there_twice_is_refused(archive):
    assert "'t1c' is there twice" in refusal(archive, "case,patient,t1c,t1c", "a,A,t1c.nii.gz,t1c.nii.gz")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("case", "", "the cell is empty"),
        ("patient", " ", "the cell is empty"),
        ("t1c", "nowhere.nii.gz", "there is no"),
        ("t1c", "../../etc/passwd", "leads out of the folder"),
        ("flair", "/etc/passwd", "leads out of the folder"),
        ("box", "1,2,3", "six numbers"),
        ("box", "0,0,0,10,0,10", "longer than 0 mm"),
        ("box", "0,0,0,10,nan,10", "box's size"),
        ("box", ",".join(["1"] * 15), "right angles"),
        ("core_ml", "3 ml", "expected a number"),
        ("core_ml", "-3", "below 0"),
        ("linear_size_mm", "inf", "expected a number"),
        ("atlas_mm", "1,2", "expected 3 numbers"),
        ("recipe", "x:glioma:1", "SEED:TYPE:COUNT"),
        ("recipe", "1", "SEED:TYPE:COUNT"),
    ],
)
def test_a_cell_that_cannot_be_understood_is_found_by_row_and_column(archive, column, value, reason):
    cells = {"case": "b", "patient": "B", "t1c": "t1c.nii.gz", column: value}

    message = refusal(
        archive,
        ",".join(cells),
        ",".join({"case": "a", "patient": "A", "t1c": "t1c.nii.gz"}.get(name, "") for name in cells),
        ",".join(f'"{text}"' for text in cells.values()),
    )

    assert f"row 3, column '{column}': " in message
    assert reason in message


@pytest.mark.parametrize("label", ["type", "area", "left_right", "front_rear", "upper_lower"])
def test_an_unknown_label_is_found_by_row_and_column_with_the_allowed_ones(archive, label):
    message = refusal(archive, f"case,patient,t1c,{label}", "a,A,t1c.nii.gz,Glioma?", error=UnknownLabel)

    assert f"row 2, column '{label}': 'Glioma?' is not a known {label}. Allowed: " in message


def test_a_recipe_of_an_unknown_type_is_an_unknown_label(archive):
    assert "'lymphoma'" in refusal(archive, "case,patient,t1c,recipe", "a,A,,1:lymphoma:1", error=UnknownLabel)


def test_a_case_that_comes_back_later_is_refused(archive):
    message = refusal(archive, "case,patient,t1c", "a,A,t1c.nii.gz", "b,B,t1c.nii.gz", "a,A,t1c.nii.gz")

    assert "row 4, column 'case': 'a' appeared in row 2 already" in message


def test_a_row_that_only_repeats_a_case_is_refused(archive):
    assert "row 2, column 'case': 'a' appears twice" in refusal(
        archive, "case,patient,t1c", "a,A,t1c.nii.gz", "a,A,t1c.nii.gz"
    )


def test_two_tumors_of_one_name_are_refused(archive):
    assert "row 3, column 'tumor': '7' is the tumor of row 2 already" in refusal(
        archive, "case,patient,t1c,tumor", "a,A,t1c.nii.gz,7", "a,A,t1c.nii.gz,7"
    )


def test_one_scan_cannot_belong_to_two_patients(archive):
    message = refusal(archive, "case,patient,t1c,type", "a,A,t1c.nii.gz,glioma", "a,B,t1c.nii.gz,glioma")

    assert "row 3, column 'patient': 'B' contradicts 'A' in row 2" in message


def test_too_many_cells_in_a_row_are_refused(archive):
    assert "row 2: 4 cells under 3 columns" in refusal(archive, "case,patient,t1c", "a,A,t1c.nii.gz,extra")


# Hostile files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n\n", "is empty"),
        (b"\x1f\x8b\x08\x00" + bytes(range(256)), "not UTF-8"),
        ("case,patient,t1c\nä,Ä,\n".encode("latin-1"), "not UTF-8"),
        ("case,patient,t1c\na,A,\n".encode("utf-16"), "not UTF-8"),
        ("case,patient,t1c\na,A,\n".encode("utf-16-le"), "null character"),
        (b"case,patient,t1c\na,A\x00,\n", "null character"),
        (b"case;patient;t1c\na;A;\n", "not parted by commas"),
        (b"case\tpatient\tt1c\na\tA\t\n", "not parted by commas"),
        (b"case,patient,t1c\n" + b'a,A,"' + b"x" * 200_000 + b'"\n', "field larger than field limit"),
        (b'case,patient,t1c\na,A,"never closed\n', "not a CSV table"),
        (b"case,patient,t1c\na,A," + b"x" * 100_000 + b"\n", "there is no"),
    ],
)
def test_a_hostile_file_is_refused_with_a_reason(tmp_path, content, reason):
    path = tmp_path / "hostile.csv"
    path.write_bytes(content)

    with pytest.raises(ManifestError, match=reason):
        read_manifest(path)


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_whatsoever_end_in_another_error_than_ours(tmp_path, content):
    path = tmp_path / "random.csv"
    path.write_bytes(b"case,patient,t1c,box,type\n" + content)

    try:
        read_manifest(path)
    except (ManifestError, UnknownLabel) as error:
        assert str(path) in str(error)


def test_a_missing_manifest_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(ManifestError, match="cannot be read"):
            read_manifest(path)


# Writing


def text():
    return st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=12)


def numbers(low=-1e3, high=1e3):
    return st.floats(low, high, allow_nan=False).map(float)


@st.composite
def boxes(draw):
    axes = np.eye(3)
    if draw(st.booleans()):
        angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
        axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return Box(draw(st.tuples(*[numbers()] * 3)), draw(st.tuples(*[numbers(0.1)] * 3)), axes)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def schemes(draw):
    whole = draw(st.lists(st.integers(1, 300), min_size=1, max_size=5))
    own = MaskLabels(draw(st.lists(st.sampled_from(whole), max_size=5)), whole, draw(text()))
    return draw(st.sampled_from([own, *SCHEMES.values()]))


@st.composite
def cases(draw, folder: Path):
    found = []
    for name in draw(st.lists(text(), unique=True, max_size=4)):
        tumors = [
            draw(
                st.builds(
                    Tumor,
                    id=st.just(number),
                    box=maybe(boxes()),
                    type=maybe(st.sampled_from(TYPES)),
                    area=maybe(st.sampled_from(AREAS)),
                    left_right=maybe(st.sampled_from(SIDES)),
                    front_rear=maybe(st.sampled_from(FRONT_REAR)),
                    upper_lower=maybe(st.sampled_from(UPPER_LOWER)),
                    linear_size_mm=maybe(numbers(0)),
                    core_ml=maybe(numbers(0)),
                    whole_ml=maybe(numbers(0)),
                    atlas_mm=maybe(st.tuples(*[numbers()] * 3)),
                    marker=maybe(text()),
                )
            )
            for number in draw(st.lists(text(), unique=True, max_size=3))
        ]
        file = maybe(st.sampled_from([folder / file for file in FILES]))
        recipe = maybe(st.builds(SyntheticRecipe, st.integers(0, 10**9), st.sampled_from(TYPES), st.integers(0, 9)))
        paths = {role: draw(file) for role in ("t1c", "flair", "mask")}
        words = {"patient": draw(text()), "provenance": draw(text() | st.just(""))}
        mask = {"mask_labels": draw(maybe(schemes())), "mask_origin": draw(maybe(st.sampled_from(MASK_ORIGINS)))}
        found.append(Case(id=name, tumors=tumors, recipe=draw(recipe), **words, **paths, **mask))
    return found


def comparable(case: Case) -> tuple:
    """A case without numpy arrays, which do not compare."""
    boxes = [
        None if tumor.box is None else tuple(map(np.ndarray.tolist, (tumor.box.center, tumor.box.size, tumor.box.axes)))
        for tumor in case.tumors
    ]
    labels = [{**vars(tumor), "box": None} for tumor in case.tumors]
    return {**vars(case), "tumors": None}, labels, boxes


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
def test_what_is_written_is_read_again_to_the_last_digit(archive, data):
    written = data.draw(cases(archive))
    path = archive / "round trip.csv"

    write_manifest(path, written)

    assert list(map(comparable, read_manifest(path))) == list(map(comparable, written))


def test_two_cases_of_one_id_are_not_written(tmp_path):
    with pytest.raises(ManifestError, match="Two cases have the id 'a'"):
        write_manifest(tmp_path / "m.csv", [Case(id="a", patient="A"), Case(id="a", patient="B")])

    assert not list(tmp_path.iterdir())


def test_a_file_outside_the_folder_is_not_written(tmp_path):
    with pytest.raises(ManifestError, match="its t1c /elsewhere/x.nii lies outside the folder"):
        write_manifest(tmp_path / "m.csv", [Case(id="a", patient="A", t1c=Path("/elsewhere/x.nii"))])


def test_a_folder_that_does_not_exist_cannot_be_written_to(tmp_path):
    with pytest.raises(CannotWrite):
        write_manifest(tmp_path / "nowhere" / "m.csv", [])
