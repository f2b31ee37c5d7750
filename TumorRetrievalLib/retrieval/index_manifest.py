"""What a case index says about itself: its manifest."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from TumorRetrievalLib.errors import IndexDamaged, UnreadableFile

SCHEMA_VERSION = 2
"""What is written. Earlier versions are read, see `retrieval.schema`."""
MANIFEST = "manifest.json"
LOCK = "writer.lock"
WAY_OUT = "Restore it from a snapshot, or build it again."

_KIND = "TumorRetrieval case index"


@dataclass(frozen=True)
class Manifest:
    """What a case index says about itself.

    :param generation: how often it has been written.
    :param model_hash: names the model and the preprocessing that made the vectors.
    :param blocks: (name, number of dimensions) of each block of a vector.
    :param layout_hash: `EmbeddingLayout.hash` when it was written.
    :param cases: number of cases.
    :param tumors: number of tumors, which is the number of vectors.
    :param cases_sha256: of the SQLite file.
    :param vectors_sha256: of the file of vectors.
    :param schema: version of the tables in the SQLite file.
    """

    generation: int
    model_hash: str
    blocks: tuple[tuple[str, int], ...]
    layout_hash: str
    cases: int
    tumors: int
    cases_sha256: str = ""
    vectors_sha256: str = ""
    schema: int = SCHEMA_VERSION

    def cases_path(self, folder: Path) -> Path:
        """The SQLite file of this generation."""
        return folder / f"cases-{self.generation}.sqlite"

    def vectors_path(self, folder: Path) -> Path:
        """The vectors of this generation."""
        return folder / f"vectors-{self.generation}.npy"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the current generation.

    :raises UnreadableFile: if the folder holds no index.
    :raises IndexDamaged: if a byte of it has changed, or it is of a later schema.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableFile(f"{folder} holds no case index: there is no {MANIFEST}. Check the path.") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        content = json.loads(text)
        if content["kind"] != _KIND:
            raise ValueError("it is of another kind")
        schema = int(content["schema"])
        if schema > SCHEMA_VERSION:
            raise IndexDamaged(
                f"{path} was written by a later version of TumorRetrieval (schema {schema}, this version "
                f"reads up to {SCHEMA_VERSION}). Update TumorRetrieval, or build the index again."
            )
        fields = content["index"]
        fields |= {name: int(fields[name]) for name in ("generation", "cases", "tumors")}
        fields["blocks"] = tuple((str(name), int(size)) for name, size in fields["blocks"])
        manifest = Manifest(**fields, schema=schema)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IndexDamaged(f"{path} cannot be understood ({error}): the index is damaged. {WAY_OUT}") from error
    if text != as_json(manifest):
        raise IndexDamaged(f"{path} fails its checksum: the index is damaged. {WAY_OUT}")
    return manifest


def as_json(manifest: Manifest) -> bytes:
    """The content of the file: one exact text per manifest, with a checksum of itself: any changed byte shows."""
    fields = asdict(manifest)
    content = {"kind": _KIND, "schema": fields.pop("schema"), "index": fields}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return (json.dumps(content | {"sha256": digest}, indent=1, sort_keys=True) + "\n").encode()
