"""A cohort as a CSV file: one row per tumor, made by a person in a spreadsheet or by `write_manifest`.

The file is UTF-8 with commas; its first row names the columns, in any order:

| column | content |
|---|---|
| `case` | names the scan; required |
| `patient` | names the patient, so that no patient is trained on and tested on; required |
| `t1c` | contrast-enhanced T1: file or DICOM folder; the column is required, a cell may be empty |
| `flair`, `mask` | files, or empty |
| `mask_scheme` | what the mask's labels mean: `brats2013`, `brats2017`, `brats2021`, `brats2024`, `brats-ped-2024`, \
`brats-men-rt`, `core`, or labels like `core=1,3 whole=1,2,3`; where it is empty every label is the tumor core |
| `mask_origin` | who drew the mask: `expert` or `network`; empty where nobody knows |
| `provenance` | free text |
| `recipe` | `SEED:TYPE:COUNT` of a synthetic case, which has no files |
| `tumor` | names the tumor within its case; 1, 2, ... in order where the cells are empty |
| `box` | `R,A,S,dR,dA,dS`: centre and size in RAS mm; a rotated box adds its three axes, nine numbers |
| `type`, `area`, `left_right`, `front_rear`, `upper_lower` | labels, see Resources/Labels |
| `linear_size_mm`, `core_ml`, `whole_ml` | numbers with a decimal point |
| `atlas_mm` | `R,A,S` of the box's centre in MNI152 mm |
| `marker` | a genetic marker in your own words, such as `IDH mutant` |

Only the first three columns must be there, and any cell but those of `case` and `patient` may be empty. The rows of a
case stand together and repeat its own cells (`patient` to `recipe`). A row whose cells from `tumor` on are empty
makes a case without a tumor.

Paths are relative to the manifest's folder and may not lead out of it: a list from elsewhere must not make the tool
open just any file. An archive in another place is named by `root`; links inside the folder are followed.
"""

import csv
import io
import os
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import MASK_ORIGINS, Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.label_schemes import format_scheme, parse_scheme
from TumorRetrievalLib.cohort.labels import ALLOWED, require_known
from TumorRetrievalLib.errors import InvalidBox, ManifestError, UnknownLabel
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box, parse_box

REQUIRED = ("case", "patient", "t1c")
_FILES = ("t1c", "flair", "mask")
_SIZES = ("linear_size_mm", "core_ml", "whole_ml")
_CASE_COLUMNS = ("case", "patient", "t1c", "flair", "mask", "mask_scheme", "mask_origin", "provenance", "recipe")
_TUMOR_COLUMNS = ("tumor", "box", *ALLOWED, *_SIZES, "atlas_mm", "marker")
COLUMNS = (*_CASE_COLUMNS, *_TUMOR_COLUMNS)

_LARGEST_BYTES = 100_000_000


def read_manifest(path, *, root=None) -> list[Case]:
    """Reads a cohort, or says which row and column is wrong.

    :param root: the folder that the paths in it start from and may not leave; its own folder when None.
    :raises ManifestError: if the file is not such a table, a cell cannot be understood, a required one is empty, a case
        appears twice, or a file that it names does not exist or lies outside `root`.
    :raises UnknownLabel: if a label is not one of the allowed values.
    """
    cases, errors = read_usable_cases(path, root=root)
    if errors:
        raise errors[0]
    return cases


def read_usable_cases(path, *, root=None) -> tuple[list[Case], list[ManifestError | UnknownLabel]]:
    """The cases of a cohort whose rows are right, and for each of the others the first thing that is wrong.

    :param root: see `read_manifest`.
    :raises ManifestError: if the file is not such a table.
    """
    path = Path(path)
    root = Path(os.path.abspath(path.parent if root is None else root))
    cases, errors = [], []
    first_row_of: dict[str, int] = {}
    for name, group in groupby(_read_rows(path), key=lambda row: row["case"]):
        together = list(group)
        try:
            if name in first_row_of:
                earlier = first_row_of[name]
                reason = f"{name!r} appeared in row {earlier} already; keep the rows of a case together."
                together[0].refuse("case", reason)
            first_row_of[together[0].required("case")] = together[0].number
            cases.append(_case(together, root))
        except (ManifestError, UnknownLabel) as error:
            errors.append(error)
    return cases, errors


def write_manifest(path, cases: Iterable[Case], *, root=None) -> None:
    """Writes a cohort so that `read_manifest` gives the same cases again; whole or not at all.

    :param root: the folder that its paths start from; the file's own folder when None.
    :raises ManifestError: if a case's file lies outside `root`, or two cases have one id.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    path = Path(path)
    root = Path(os.path.abspath(path.parent if root is None else root))
    seen: set[str] = set()
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for case in cases:
        if case.id in seen:
            raise ManifestError(f"Two cases have the id {case.id!r}; ids must be unique.")
        seen.add(case.id)
        of_case = _case_cells(case, root)
        for tumor in case.tumors or (None,):
            writer.writerow(of_case | (_tumor_cells(tumor) if tumor else {}))
    with atomic_file(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


class _Row:
    """One row of the table, which knows where it stands and says so in errors."""

    def __init__(self, path: Path, number: int, cells: dict[str, str], fault: str | None = None):
        self.path, self.number, self.cells, self.fault = path, number, cells, fault

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def required(self, column: str) -> str:
        """The cell's text; an empty cell is refused."""
        return self[column] or self.refuse(column, "the cell is empty.")

    def refuse(self, column: str, reason, error: type[Exception] = ManifestError):
        """:raises ManifestError: (or `error`) with file, row, column and reason."""
        raise error(f"{self.path}, row {self.number}, column {column!r}: {reason}")


def _read_rows(path: Path) -> list[_Row]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    rows: list[_Row] = []
    columns: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _checked_columns(path, cells)
                continue
            rows.append(_Row(path, reader.line_num, dict(zip(columns, cells, strict=False)), _fault(cells, columns)))
    except csv.Error as error:
        raise ManifestError(f"{path}, row {reader.line_num}: not a CSV table ({error}).") from error
    if not columns:
        raise ManifestError(f"{path} is empty: its first row must name the columns {', '.join(REQUIRED)}.")
    return rows


def _fault(cells: list[str], columns: list[str]) -> str | None:
    if len(cells) == len(columns):
        return None
    return f"{len(cells)} cells under {len(columns)} columns. A cell that holds a comma needs quotes."


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ManifestError(f"{path} is larger than {_LARGEST_BYTES // 1_000_000} MB; this is no manifest.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8.") from error
    if "\0" in text:
        raise ManifestError(f"{path} is not text: it holds a null character; save it as CSV UTF-8.")
    return text


def _checked_columns(path: Path, cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise ManifestError(f"{path}: the columns are not parted by commas; export with commas and decimal points.")
    for column in columns:
        if column not in COLUMNS:
            raise ManifestError(f"{path}, row 1: unknown column {column[:80]!r}. Allowed: {', '.join(COLUMNS)}.")
        if columns.count(column) > 1:
            raise ManifestError(f"{path}, row 1: the column {column!r} is there twice.")
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise ManifestError(f"{path}, row 1: the column {missing[0]!r} is missing. Required: {', '.join(REQUIRED)}.")
    return columns


def _case(rows: list[_Row], root: Path) -> Case:
    first = rows[0]
    for row in rows:
        if row.fault is not None:
            raise ManifestError(f"{row.path}, row {row.number}: {row.fault}")
        for column in _CASE_COLUMNS:
            if row[column] != first[column]:
                row.refuse(column, f"{row[column]!r} contradicts {first[column]!r} in row {first.number} of this case.")
    return Case(
        id=first["case"],
        patient=first.required("patient"),
        **{column: _file(first, column, root) for column in _FILES},
        tumors=_tumors(rows),
        mask_labels=_mask_labels(first),
        mask_origin=_mask_origin(first),
        provenance=first["provenance"],
        recipe=_recipe(first),
    )


def _tumors(rows: list[_Row]) -> tuple[Tumor, ...]:
    if len(rows) == 1 and not any(rows[0][column] for column in _TUMOR_COLUMNS):
        return ()
    row_of: dict[str, int] = {}
    tumors = []
    for place, row in enumerate(rows, start=1):
        name = row["tumor"] or str(place)
        if not any(row[column] for column in _TUMOR_COLUMNS):
            row.refuse("case", f"{row['case']!r} appears twice, and this row says nothing about another tumor.")
        if name in row_of:
            row.refuse("tumor", f"{name!r} is the tumor of row {row_of[name]} already.")
        row_of[name] = row.number
        tumors.append(_tumor(row, name))
    return tuple(tumors)


def _tumor(row: _Row, name: str) -> Tumor:
    return Tumor(
        id=name,
        box=_box(row),
        **{label: _label(row, label) for label in ALLOWED},
        **{column: _size(row, column) for column in _SIZES},
        atlas_mm=_numbers(row, "atlas_mm", 3),
        marker=row["marker"] or None,
    )


def _mask_labels(row: _Row) -> MaskLabels | None:
    if not row["mask_scheme"]:
        return None
    try:
        return parse_scheme(row["mask_scheme"])
    except ValueError as error:
        row.refuse("mask_scheme", error)


def _mask_origin(row: _Row) -> str | None:
    origin = row["mask_origin"] or None
    if origin not in (None, *MASK_ORIGINS):
        row.refuse("mask_origin", f"expected {' or '.join(MASK_ORIGINS)}, not {origin[:80]!r}.")
    return origin


def _recipe(row: _Row) -> SyntheticRecipe | None:
    if not row["recipe"]:
        return None
    seed, _, rest = row["recipe"].partition(":")
    tumor_type, _, count = rest.partition(":")
    if not (_is_count(seed) and _is_count(count)):
        row.refuse("recipe", f"expected SEED:TYPE:COUNT, not {row['recipe'][:80]!r}.")
    try:
        require_known("type", tumor_type)
    except UnknownLabel as error:
        row.refuse("recipe", error, UnknownLabel)
    return SyntheticRecipe(int(seed), tumor_type, int(count))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _label(row: _Row, label: str) -> str | None:
    value = row[label] or None
    try:
        require_known(label, value)
    except UnknownLabel as error:
        row.refuse(label, error, UnknownLabel)
    return value


def _size(row: _Row, column: str) -> float | None:
    number = _numbers(row, column, 1)
    if number is None:
        return None
    if number[0] < 0:
        row.refuse(column, f"{row[column]!r} is below 0.")
    return number[0]


def _box(row: _Row) -> Box | None:
    text = row["box"]
    if not text:
        return None
    try:
        if text.count(",") == 14:
            numbers = _numbers(row, "box", 15)
            return Box(numbers[:3], numbers[3:6], np.reshape(numbers[6:], (3, 3)).T)
        return parse_box(text)
    except InvalidBox as error:
        row.refuse("box", error)


def _numbers(row: _Row, column: str, count: int) -> tuple[float, ...] | None:
    text = row[column]
    if not text:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        what = "a number" if count == 1 else f"{count} numbers parted by commas"
        row.refuse(column, f"expected {what}, with a decimal point, not {text[:80]!r}.")
    return numbers


def _file(row: _Row, column: str, root: Path) -> Path | None:
    text = row[column]
    if not text:
        return None
    path = Path(os.path.abspath(root / text))
    if not path.is_relative_to(root):
        row.refuse(column, f"{text!r} leads out of the folder {root}.")
    try:
        there = path.exists()
    except OSError:
        there = False
    if not there:
        row.refuse(column, f"there is no {path}.")
    return path


def _case_cells(case: Case, root: Path) -> dict[str, str]:
    cells = {"case": case.id, "patient": case.patient, "provenance": case.provenance}
    cells["mask_origin"] = case.mask_origin or ""
    cells["mask_scheme"] = "" if case.mask_labels is None else format_scheme(case.mask_labels)
    if case.recipe is not None:
        cells["recipe"] = f"{case.recipe.seed}:{case.recipe.tumor_type}:{case.recipe.lesion_count}"
    for column in _FILES:
        path = getattr(case, column)
        if path is not None:
            path = Path(os.path.abspath(path))
            if not path.is_relative_to(root):
                raise ManifestError(f"Case {case.id!r}: its {column} {path} lies outside the folder {root}.")
            cells[column] = path.relative_to(root).as_posix()
    return cells


def _tumor_cells(tumor: Tumor) -> dict[str, str]:
    cells = {"tumor": tumor.id, "marker": tumor.marker or ""} | {
        label: getattr(tumor, label) or "" for label in ALLOWED
    }
    for column in _SIZES:
        value = getattr(tumor, column)
        cells[column] = "" if value is None else repr(float(value))
    if tumor.atlas_mm is not None:
        cells["atlas_mm"] = _joined(tumor.atlas_mm)
    if tumor.box is not None:
        axes = [] if np.array_equal(tumor.box.axes, np.eye(3)) else tumor.box.axes.T.ravel()
        cells["box"] = _joined([*tumor.box.center, *tumor.box.size, *axes])
    return cells


def _joined(numbers) -> str:
    return ",".join(repr(float(number)) for number in numbers)
