"""What a build has finished so far, case by case, so that one that was stopped or killed goes on where it was."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.errors import CannotWrite, InvalidBox, UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import write_labels
from TumorRetrievalLib.imaging.volume import LabelMap

_FILES = ("t1c", "flair", "mask")


@dataclass(frozen=True, eq=False)
class EmbeddedCase:
    """A case as it enters an index.

    :param vectors: one embedding per tumor, shape (tumors, D).
    :param made_mask: where the network has drawn the tumors: what the index has to keep; None where somebody has.
    :param notes: sentences about the case that a reader must see.
    """

    case: Case
    vectors: np.ndarray
    made_mask: LabelMap | None = None
    notes: list[str] = field(default_factory=list)


class Parts:
    """The finished cases of a build, in `parts/` in the folder of the index.

    :param out: folder of the index.
    :param identity: of the model; parts of another model are thrown away.
    :raises CannotWrite: if the folder cannot be made.
    """

    def __init__(self, out: Path, identity: str):
        self.folder = parts_folder(out)
        mark = self.folder / "model.txt"
        try:
            if self.folder.exists() and (not mark.exists() or mark.read_text() != identity):
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(mark) as temporary:
                temporary.write_text(identity)
        except OSError as error:
            reason = error.strerror or error
            raise CannotWrite(f"{self.folder} cannot be made: {reason}. Choose another folder.") from error

    def path(self, case: Case) -> Path:
        """Where a case is kept: a name for its id, which may hold any characters, and one for its files' state."""
        return self.folder / f"{_name(case.id)}-{_state_of(case)}.npz"

    def clear(self) -> None:
        """Throw all away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def parts_folder(out: Path) -> Path:
    """Where the parts of an index lie."""
    return Path(out) / "parts"


def forget_parts(out: Path, case_ids: Iterable[str]) -> None:
    """Remove what a stopped build has left of some cases."""
    for case_id in case_ids:
        for path in parts_folder(out).glob(f"*{_name(case_id)}-*"):
            path.unlink(missing_ok=True)


def keep_part(path: Path, embedded: EmbeddedCase) -> None:
    """Write a finished case, whole or not at all.

    :raises CannotWrite: if the disk is full or read-only.
    """
    if embedded.made_mask is not None:
        write_labels(mask_of_part(path), embedded.made_mask)
    content = json.dumps({"case": _case_to_json(embedded.case), "notes": embedded.notes})
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, vectors=embedded.vectors, content=np.array(content))


def read_part(path: Path) -> EmbeddedCase:
    """A finished case; the mask that was drawn for it stays in its file.

    :raises UnreadableFile: if the file is damaged.
    """
    try:
        stored = read_arrays(path, "Delete it and start the build again.")
        content = json.loads(str(stored["content"]))
        return EmbeddedCase(_case_from_json(content["case"]), stored["vectors"], notes=content["notes"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, InvalidBox) as error:
        raise UnreadableFile(f"{path} is damaged ({error}). Delete it and start the build again.") from None


def mask_of_part(path: Path) -> Path:
    """Where the mask that the network has drawn for a case lies, if it has."""
    return path.with_suffix(".nii.gz")


def _name(case_id: str) -> str:
    return hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _state_of(case: Case) -> str:
    """Another one whenever a file of the case was replaced, or something else is said about it."""
    state = [_case_to_json(case)]
    for path in (case.t1c, case.flair, case.mask):
        if path is not None and path.exists():
            status = path.stat()
            state.append([status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(state).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _case_to_json(case: Case) -> dict:
    plain = {name: value for name, value in vars(case).items() if name not in ("tumors", "mask_labels", "recipe")}
    return {
        **plain,
        **{name: None if plain[name] is None else str(plain[name]) for name in _FILES},
        **{name: None if value is None else asdict(value)
           for name in ("mask_labels", "recipe") for value in [getattr(case, name)]},
        "tumors": [_tumor_to_json(tumor) for tumor in case.tumors],
    }  # fmt: skip


def _tumor_to_json(tumor: Tumor) -> dict:
    box = tumor.box
    parts = None if box is None else [box.center.tolist(), box.size.tolist(), box.axes.tolist()]
    return {**vars(tumor), "box": parts}


def _case_from_json(stored: dict) -> Case:
    made = {"mask_labels": MaskLabels, "recipe": SyntheticRecipe}
    return Case(**{
        **stored,
        **{name: None if stored[name] is None else Path(stored[name]) for name in _FILES},
        **{name: None if stored[name] is None else make(**stored[name]) for name, make in made.items()},
        "tumors": [Tumor(**{**one, "box": one["box"] and Box(*map(np.array, one["box"]))}) for one in stored["tumors"]],
    })  # fmt: skip
