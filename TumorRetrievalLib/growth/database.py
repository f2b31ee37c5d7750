"""A file of simulated tumors: what they were grown from, and their two masks as bricks of bits.

Density is not kept. Whoever wants the density of a tumor grows it again from its parameters, which takes less time than
reading it would, and gives the same voxels.

The file: eight bytes of magic, the length of the header (uint32, little-endian), the header's SHA-256, the header
(JSON), and one zstd frame for each array in the order of `_ARRAYS`, followed by those of `_ATLAS_ARRAYS` where the
tumors grew in another atlas than the bundled one. Nothing in it is trusted before it is checked.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, SimulationsDamaged, SimulationsOfAnotherAtlas, UnreadableFile
from TumorRetrievalLib.growth.atlas import GrowthAtlas, load_growth_atlas
from TumorRetrievalLib.growth.brick_kernels import count_bricks
from TumorRetrievalLib.growth.bricks import BRICK, WORDS, SparseMasks
from TumorRetrievalLib.growth.growth import CORE_THRESHOLD, WHOLE_THRESHOLD
from TumorRetrievalLib.growth.overlap_search import OverlapSearch
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.solver import SOLVER_VERSION
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.resources import resource

BUNDLED = "mni152.growth"
MAGIC = b"TRgrowth"
FORMAT = 1
_PREAMBLE = struct.Struct("<8sI32s")
_LARGEST_HEADER = 1 << 20
_LARGEST_RAW = 64 << 30  # bytes of all arrays; a million tumors need a tenth of it
# Parameters of one simulation lie next to each other along a row, so that repeated ones compress.
_PER_MASK = {"bricks_per_mask": "<u2", "bricks": "<u2", "bits": "<u8"}
_ARRAYS = {"parameters": "<f4"} | {f"{mask}_{name}": t for mask in ("whole", "core") for name, t in _PER_MASK.items()}
_ATLAS_ARRAYS = {"atlas_gray": "<f4", "atlas_white": "<f4"}
"""Array -> its type in the file."""


@dataclass(frozen=True, eq=False)
class SimulationDatabase:
    """Simulated tumors of one atlas.

    :param parameters: float32 (n, 5): origin (RAS mm), lambda (mm^2), tau.
    :param whole: the whole tumors (density from 0.2).
    :param core: their cores (density from 0.6).
    :param grid: the simulation grid.
    :param atlas_fingerprint: of the atlas they grew in.
    :param made_with: how the set was drawn: seed and sampling; for the record.
    :param atlas: that atlas, where it is not the bundled one.
    """

    parameters: np.ndarray
    whole: SparseMasks
    core: SparseMasks
    grid: Grid
    atlas_fingerprint: str
    made_with: dict
    atlas: GrowthAtlas | None = None

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def search(self) -> OverlapSearch:
        """The exact search among them."""
        return OverlapSearch(self.whole, self.core, self.grid.shape[0])

    def parameters_of(self, index: int) -> GrowthParameters:
        """What a tumor was grown from; growing it again gives the masks that are stored."""
        x, y, z, spread, tau = (float(value) for value in self.parameters[index])
        return GrowthParameters((x, y, z), spread, tau)

    def first(self, count: int) -> "SimulationDatabase":
        """The first `count` tumors alone."""
        return replace(
            self,
            parameters=self.parameters[:count],
            whole=self.whole.first(count),
            core=self.core.first(count),
        )

    @property
    def growth_atlas(self) -> GrowthAtlas:
        """The atlas that the tumors grew in: its own, or the bundled one.

        :raises SimulationsOfAnotherAtlas: if it has none of its own and the bundled one is another.
        """
        atlas = self.atlas or load_growth_atlas(self.grid.shape[0])
        self.require_atlas(atlas)
        return atlas

    def require_atlas(self, atlas: GrowthAtlas) -> None:
        """:raises SimulationsOfAnotherAtlas: if the tumors grew in another atlas, or on another grid of it."""
        if self.atlas_fingerprint != atlas.fingerprint or not self.grid.same_as(atlas.grid):
            raise SimulationsOfAnotherAtlas(
                "These simulated tumors grew in another atlas than the one in use. "
                "Use the database of this atlas, or build one with `tumor-retrieval simulate`."
            )


def join(parts: list[SimulationDatabase]) -> SimulationDatabase:
    """Several databases of one build as one, in their order."""
    return replace(
        parts[0],
        parameters=np.concatenate([part.parameters for part in parts]),
        whole=_join_masks([part.whole for part in parts]),
        core=_join_masks([part.core for part in parts]),
    )


def write_database(path, database: SimulationDatabase, level: int = 12) -> None:
    """Writes the file, or leaves what was there untouched.

    :param level: of zstd; 19 makes the smallest files and takes ten times as long.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    import zstandard

    # One thread and no checksum of zstd's own: the same tumors give the same bytes.
    compressor = zstandard.ZstdCompressor(level=level)
    raw = _as_arrays(database)
    frames = {name: compressor.compress(np.ascontiguousarray(array).tobytes()) for name, array in raw.items()}
    header = json.dumps(
        {
            "format": FORMAT,
            "solver": SOLVER_VERSION,
            "thresholds": [WHOLE_THRESHOLD, CORE_THRESHOLD],
            "atlas": database.atlas_fingerprint,
            "shape": list(database.grid.shape),
            "affine": database.grid.affine.tolist(),
            "count": len(database),
            "made_with": database.made_with,
            "arrays": {
                name: {
                    "shape": list(array.shape),
                    "bytes": len(frames[name]),
                    "sha256": hashlib.sha256(frames[name]).hexdigest(),
                }
                for name, array in raw.items()
            },
        },
        sort_keys=True,
    ).encode()
    with atomic_file(path) as temporary, open(temporary, "wb") as stream:
        stream.write(_PREAMBLE.pack(MAGIC, len(header), hashlib.sha256(header).digest()))
        stream.write(header)
        for frame in frames.values():
            stream.write(frame)


def read_database(path) -> SimulationDatabase:
    """Reads and checks all of the file.

    :raises UnreadableFile: if it is not there or not such a file.
    :raises SimulationsDamaged: if it is truncated, fails a checksum, or contradicts itself.
    :raises SimulationsOfAnotherAtlas: if another solver or other thresholds made it.
    """
    path = Path(path)
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        header, body = _read_header(path, content)
        return _database_from(header, _read_arrays(header, body))
    except (_Contradiction, InvalidImage) as error:
        raise _damaged(path, str(error)) from error
    # Whatever else a hostile header makes Python stumble over: missing keys, wrong types, numbers out of range.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise _damaged(path, f"its contents make no sense ({error})") from error


@lru_cache(maxsize=1)
def bundled_database() -> SimulationDatabase:
    """The simulated tumors that come with the tool, read once per process.

    :raises MissingResource: if they are missing or damaged.
    """
    return read_database(resource("Simulations", BUNDLED))


class _Contradiction(Exception):
    pass


def _damaged(path, reason: str) -> SimulationsDamaged:
    return SimulationsDamaged(f"The simulation database {path} is damaged: {reason}. Copy or build it again.")


def _read_header(path: Path, content: memoryview) -> tuple[dict, memoryview]:
    if bytes(content[:8]) != MAGIC:
        raise UnreadableFile(f"{path} is not a database of simulated tumors.")
    if len(content) < _PREAMBLE.size:
        raise _Contradiction("it ends too early")
    _, length, digest = _PREAMBLE.unpack_from(content)
    header = bytes(content[_PREAMBLE.size : _PREAMBLE.size + length])
    if length > _LARGEST_HEADER or len(header) < length:
        raise _Contradiction("it ends too early")
    if hashlib.sha256(header).digest() != digest:
        raise _Contradiction("the checksum of its header is wrong")
    header = json.loads(header)
    if header["format"] != FORMAT:
        raise UnreadableFile(f"{path} has the format {header['format']}, this version of the tool reads {FORMAT}.")
    if header["solver"] != SOLVER_VERSION or header["thresholds"] != [WHOLE_THRESHOLD, CORE_THRESHOLD]:
        raise SimulationsOfAnotherAtlas(
            f"{path} was made with the solver {header['solver']} and the thresholds {header['thresholds']}, this "
            f"version of the tool has {SOLVER_VERSION}. Build it again with `tumor-retrieval simulate`."
        )
    return header, content[_PREAMBLE.size + length :]


def _read_arrays(header: dict, body: memoryview) -> dict[str, np.ndarray]:
    import zstandard

    entries = header["arrays"]
    types = next((t for t in (_ARRAYS, _ARRAYS | _ATLAS_ARRAYS) if set(t) == set(entries)), None)
    if types is None:
        raise _Contradiction("it does not hold the arrays that it should")
    if sum(entries[name]["bytes"] for name in types) != len(body):
        raise _Contradiction("its length is not the one that its header gives")
    arrays, start, budget = {}, 0, _LARGEST_RAW
    for name, type_ in types.items():
        entry, dtype = entries[name], np.dtype(type_)
        shape = tuple(int(n) for n in entry["shape"])
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        budget -= size
        frame = body[start : start + entry["bytes"]]
        start += entry["bytes"]
        if min(shape, default=0) < 0 or budget < 0:
            raise _Contradiction(f"{name} is of an impossible size")
        if hashlib.sha256(frame).hexdigest() != entry["sha256"]:
            raise _Contradiction(f"the checksum of {name} is wrong")
        # The frame says how much it will write before anything is allocated: no small file unpacks into a large one.
        if zstandard.frame_content_size(frame) != size:
            raise _Contradiction(f"{name} does not have the size that the header gives")
        try:
            raw = zstandard.ZstdDecompressor().decompress(frame)
        except zstandard.ZstdError as error:
            raise _Contradiction(f"{name} cannot be unpacked") from error
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
    return arrays


def _database_from(header: dict, arrays: dict[str, np.ndarray]) -> SimulationDatabase:
    grid = Grid(tuple(header["shape"]), np.array(header["affine"], float))
    edge, count, columns = grid.shape[0], header["count"], arrays["parameters"]
    if grid.shape != (edge,) * 3 or edge % (2 * BRICK) or edge > 320:
        raise _Contradiction(f"its grid {grid.shape} is not a cube that can be searched")
    if columns.shape != (5, count) or count < 1:
        raise _Contradiction("it does not hold as many tumors as it says")
    if not np.all(np.isfinite(columns)) or np.any(columns[3:] <= 0):
        raise _Contradiction("a tumor has parameters that cannot be simulated")
    masks = []
    for kind in ("whole", "core"):
        per_mask, bricks, bits = (arrays[f"{kind}_{name}"] for name in ("bricks_per_mask", "bricks", "bits"))
        masks.append(_checked_masks(per_mask, bricks, bits, count, (edge // BRICK) ** 3))
    if np.any(masks[1].voxels > masks[0].voxels):
        raise _Contradiction("a tumor's core is larger than the tumor")
    if not isinstance(header["atlas"], str) or not isinstance(header["made_with"], dict):
        raise _Contradiction("its header is incomplete")
    parameters = np.ascontiguousarray(columns.T)
    atlas = _checked_atlas(grid, header["atlas"], arrays) if "atlas_gray" in arrays else None
    return SimulationDatabase(parameters, *masks, grid, header["atlas"], header["made_with"], atlas)


def _checked_atlas(grid: Grid, fingerprint: str, arrays: dict[str, np.ndarray]) -> GrowthAtlas:
    fractions = [arrays[name] for name in _ATLAS_ARRAYS]
    if any(f.shape != grid.shape or not np.all((f >= 0) & (f <= 1)) for f in fractions):
        raise _Contradiction("its atlas does not hold fractions of tissue on its grid")
    return GrowthAtlas(*fractions, grid.affine, fingerprint)


def _checked_masks(per_mask, bricks, bits, count: int, bricks_in_cube: int) -> SparseMasks:
    offsets = np.concatenate(([0], np.cumsum(per_mask, dtype=np.int64)))
    if per_mask.shape != (count,) or bricks.shape != (offsets[-1],) or bits.shape != (offsets[-1], WORDS):
        raise _Contradiction("its masks do not belong together")
    if np.any(per_mask == 0) or np.any(bricks >= bricks_in_cube):
        raise _Contradiction("a tumor is empty or lies outside the grid")
    starts = np.zeros(len(bricks), bool)
    starts[offsets[:-1]] = True
    if np.any((np.diff(bricks.astype(np.int32)) <= 0) & ~starts[1:]):
        raise _Contradiction("the bricks of a tumor are out of order")
    counts = np.empty(len(bricks), np.uint16)
    count_bricks(bits.reshape(-1), counts)
    if np.any(counts == 0):
        raise _Contradiction("a brick is empty")
    return SparseMasks(offsets, bricks, counts, bits, np.add.reduceat(counts, offsets[:-1], dtype=np.int64))


def _as_arrays(database: SimulationDatabase) -> dict[str, np.ndarray]:
    arrays, types = [database.parameters.T], _ARRAYS
    for masks in (database.whole, database.core):
        arrays += [np.diff(masks.offsets), masks.bricks, masks.bits]
    if database.atlas is not None:
        arrays, types = [*arrays, database.atlas.gray, database.atlas.white], _ARRAYS | _ATLAS_ARRAYS
    return {name: array.astype(type_) for (name, type_), array in zip(types.items(), arrays, strict=True)}


def _join_masks(parts: list[SparseMasks]) -> SparseMasks:
    starts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    columns = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("bricks", "counts", "bits", "voxels")
    )
    return SparseMasks(np.concatenate([np.zeros(1, np.int64), *offsets]), *columns)
