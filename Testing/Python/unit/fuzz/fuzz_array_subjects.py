"""More of what is fuzzed: files of arrays and tensors, the growth database, and what goes through the worker's pipe."""

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
from fuzz_subjects import Parts, Subject, cases_in, file_in, first_file, small_scan, subject, zipped

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume


def _members(path: Path) -> Parts:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _three_ways(name: str, file_name: str, write, read) -> None:
    """A file of arrays: damaged; with forged arrays in it; and these compressed, where few bytes can become many."""

    def make(folder: Path) -> Subject:
        write(folder / file_name)
        return Subject(file_in(folder / file_name), first_file, read)

    def forged(compression: int):
        def make(folder: Path) -> Subject:
            def put_together(target: Path, parts: Parts) -> Path:
                (target / file_name).write_bytes(zipped(parts, compression))
                return target / file_name

            write(folder / file_name)
            return Subject(_members(folder / file_name), put_together, read)

        return make

    subject(f"{name}, damaged")(make)
    subject(f"{name}, forged")(forged(zipfile.ZIP_STORED))
    subject(f"{name}, forged and compressed")(forged(zipfile.ZIP_DEFLATED))


def _write_slices(path: Path) -> None:
    image = np.zeros((3, 128, 128), np.uint8)
    packed = np.packbits(image > 0, axis=-1)
    np.savez(path, image=image, label=np.arange(3), mask_packed=packed, mask_known=np.ones(3, bool), fold=np.arange(3))


def _read_slices(path: Path) -> None:
    from TumorRetrievalLib.training.slice_data import read_slices

    read_slices(path).digests()


_three_ways("slices", "slices.npz", _write_slices, _read_slices)


def _write_overlay(path: Path) -> None:
    from TumorRetrievalLib.worker.growth_files import Bend, Overlay, write_overlay

    stage = Volume(np.linspace(0, 1, 60, dtype=np.float32).reshape(5, 4, 3), np.eye(4))
    field = np.zeros((3, 4, 3, 2), np.float32)
    write_overlay(path, Overlay([stage, stage], stage, np.eye(4), Bend(Grid((4, 3, 2), np.eye(4)), field, field)))


def _read_overlay(path: Path) -> None:
    from TumorRetrievalLib.worker.growth_files import read_overlay, read_stages

    read_stages(path)
    read_overlay(path)


_three_ways("growth overlay", "overlay.npz", _write_overlay, _read_overlay)


def _write_expert_masks(path: Path) -> None:
    np.savez(path, seg=np.ones((2, 4, 4, 3), np.uint8), id=np.array(["one", "two"]))


def _read_expert_masks(path: Path) -> None:
    from TumorRetrievalLib.growth.expert_masks import read_expert_masks

    read_expert_masks(path, Grid.around((0, 0, 0), 40.0, (4, 4, 4)))


_three_ways("expert masks", "masks.npz", _write_expert_masks, _read_expert_masks)


def _write_cached_case(path: Path) -> None:
    from TumorRetrievalLib.engine.known_cases import KnownCase, _keep

    scan = small_scan()
    mask = LabelMap((scan.data > 50).astype(np.uint8), scan.affine)
    _keep(path, KnownCase(scan, scan, mask, mask, "synthetic"))


def _read_cached_case(path: Path) -> None:
    from TumorRetrievalLib.engine.known_cases import _read_cached

    _read_cached(path, "synthetic")


_three_ways("cached case", "v1.npz", _write_cached_case, _read_cached_case)


def _write_part(path: Path) -> None:
    from TumorRetrievalLib.engine.embed_case import EmbeddedCase
    from TumorRetrievalLib.engine.parts import keep_part

    keep_part(path, EmbeddedCase(cases_in(path.parent)[0], np.ones((1, 8), np.float32), notes=["a note"]))


def _read_part(path: Path) -> None:
    from TumorRetrievalLib.engine.parts import read_part

    read_part(path)


_three_ways("part of a build", "part.npz", _write_part, _read_part)


def _write_prepared(path: Path) -> None:
    from TumorRetrievalLib.training.whole_scans import PreparedScan, ScanStore

    store = ScanStore(path.parent)
    image, masks = np.ones((2, 8, 8, 8), np.float32), np.ones((2, 8, 8, 8), bool)
    store.get_or_make(path.stem, lambda: PreparedScan(image, masks, 1))


def _read_prepared(path: Path) -> None:
    from TumorRetrievalLib.training.whole_scans import ScanStore

    ScanStore(path.parent).read(path.stem)


_three_ways("prepared scan", "scan.npz", _write_prepared, _read_prepared)


def _write_state(path: Path) -> None:
    import torch

    tensors = {"module.conv1.weight": torch.ones(2, 1, 3, 3, 3), "module.bn1.bias": torch.zeros(2)}
    torch.save({"state_dict": tensors}, path)


def _read_state(path: Path) -> None:
    from TumorRetrievalLib.networks.medicalnet import _state_dict

    _state_dict(path)


_three_ways("MedicalNet checkpoint", "resnet_10.pth", _write_state, _read_state)


@subject("MedicalNet checkpoint of old PyTorch")
def _old_checkpoint(folder: Path) -> Subject:
    import torch

    tensors = {"module.conv1.weight": torch.ones(2, 1, 3, 3, 3), "module.bn1.bias": torch.zeros(2)}
    torch.save({"state_dict": tensors}, folder / "old.pth", _use_new_zipfile_serialization=False)
    return Subject(file_in(folder / "old.pth"), first_file, _read_state)


@subject("checkpoint of a training")
def _checkpoint(folder: Path) -> Subject:
    import torch

    from TumorRetrievalLib.training.checkpoint import FILE_NAME, read_checkpoint, write_checkpoint

    write_checkpoint(folder, {"step": 3, "recipe": "{}", "averaged": {"a": torch.ones(4)}, "optimizer": [1, 2.0, None]})
    return Subject(file_in(folder / FILE_NAME), first_file, lambda path: read_checkpoint(path.parent))


@subject("map of an index")
def _map(folder: Path) -> Subject:
    from TumorRetrievalLib.engine.index_map import _keep, _kept

    _keep(folder / "map.npy", np.ones((5, 2)))
    return Subject(file_in(folder / "map.npy"), first_file, lambda path: _kept(path, 5))


@subject("query of a result")
def _query(folder: Path) -> Subject:
    from TumorRetrievalLib.engine.rerank import QUERY_FILE, Query

    box = Box.aligned((1, 2, 3), (4, 5, 6))
    Query(np.ones((1, 8), np.float32), folder / "index", "a" * 64, [box], "core", np.eye(4)).keep(folder)
    return Subject(file_in(folder / QUERY_FILE), first_file, lambda path: Query.kept(path.parent))


def _database_parts(folder: Path) -> tuple[dict[str, bytes], bytes]:
    """The header of a small database, its arrays unpacked, and the file as it is."""
    import zstandard

    from TumorRetrievalLib.growth.bricks import gather, pack
    from TumorRetrievalLib.growth.database import _ARRAYS, _PREAMBLE, SimulationDatabase, write_database

    grid = Grid.around((0, -20, 10), 4.0, (32, 32, 32))
    distance = np.linalg.norm(np.indices(grid.shape) - 16, axis=0)
    whole, core = (gather([pack((distance < radius).astype(np.uint8)) for radius in r]) for r in ((6, 9), (3, 4)))
    parameters = np.array([(0, -20, 10, 3, 20), (1, -20, 10, 3, 30)], np.float32)
    write_database(folder / "a.growth", SimulationDatabase(parameters, whole, core, grid, "f" * 64, {"seed": 4}))
    content = (folder / "a.growth").read_bytes()
    length = int.from_bytes(content[8:12], "little")
    header, place = content[_PREAMBLE.size : _PREAMBLE.size + length], _PREAMBLE.size + length
    parts = {"header": header}
    sizes = json.loads(header)["arrays"]
    for name in _ARRAYS:
        parts[name] = zstandard.decompress(content[place : place + sizes[name]["bytes"]])
        place += sizes[name]["bytes"]
    return parts, content


def _use_database(path: Path) -> None:
    from TumorRetrievalLib.growth.database import read_database

    database = read_database(path)
    database.first(1).parameters_of(0)
    database.whole.unpack(0, database.grid.shape[0])


@subject("growth database, damaged")
def _database(folder: Path) -> Subject:
    return Subject({"a.growth": _database_parts(folder)[1]}, first_file, _use_database)


@subject("growth database, forged")
def _forged_database(folder: Path) -> Subject:
    import zstandard

    from TumorRetrievalLib.growth.database import _ARRAYS, _PREAMBLE, MAGIC

    def put_together(target: Path, parts: Parts) -> Path:
        header, *arrays = parts.values()
        frames = [zstandard.compress(content) for content in arrays]
        try:
            said = json.loads(header)
            for (name, content), frame in zip(list(parts.items())[1:], frames, strict=True):
                entry = said["arrays"][name]
                entry |= {"bytes": len(frame), "sha256": hashlib.sha256(frame).hexdigest()}
                # As many rows as there are, so that what is in them gets looked at.
                entry["shape"][0] = len(content) // (math.prod(entry["shape"][1:]) * np.dtype(_ARRAYS[name]).itemsize)
            header = json.dumps(said).encode()
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError, ZeroDivisionError):
            pass  # a header that cannot be understood goes into the file as it is
        preamble = _PREAMBLE.pack(MAGIC, len(header), hashlib.sha256(header).digest())
        (target / "a.growth").write_bytes(b"".join([preamble, header, *frames]))
        return target / "a.growth"

    return Subject(_database_parts(folder)[0], put_together, _use_database)


@subject("requests to the worker")
def _requests(folder: Path) -> Subject:
    box = {"center_ras": [1, 2, 3], "size_mm": [4, 5, 6], "axes": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    arguments = {
        "t1c": "/a.nii.gz", "boxes": [box], "k": 5, "tumor": 0, "filters": {"types": ["glioma"], "min_ml": 1.5},
        "weights": {"position": 2.0}, "more": [{"case": "a", "tumor": "1"}], "like": ["a"], "report": True,
    }  # fmt: skip
    lines = [
        {"id": 0, "task": "hello", "arguments": {"protocol": 1}},
        {"id": 1, "task": "read", "arguments": arguments},
        {"id": 2, "task": "cancel", "arguments": {"id": 1}},
    ]
    return Subject({"lines": b"".join(json.dumps(line).encode() + b"\n" for line in lines)}, first_file, _serve)


def _serve(path: Path) -> None:
    """Every line that is not empty gets an answer, and the worker goes on listening to the last one."""
    from TumorRetrievalLib.worker.protocol import decode
    from TumorRetrievalLib.worker.server import Server

    last = b'\n{"id": "last", "task": "read", "arguments": {}}\n'
    answers = io.BytesIO()
    server = Server(lambda: {"read": _read_arguments}, io.BytesIO(path.read_bytes() + last), answers)
    server._leave = lambda: server._waiting.put(None)  # which would also end this process
    server.run()
    said = [decode(line) for line in answers.getvalue().splitlines()]
    assert None not in said
    errors = [message["error"] for message in said if message["event"] == "error"]
    unexpected = [error for error in errors if error["kind"] == "Unexpected"]
    assert not unexpected, unexpected[0]["traceback"]
    requests = [decode(line) or {} for line in path.read_bytes().split(b"\n")]
    asked_to_leave = any(request.get("task") == "shutdown" for request in requests)
    assert asked_to_leave or any(message["id"] == "last" and message["event"] == "result" for message in said)


def _read_arguments(given: dict, progress) -> dict:
    """A task that reads what a search is asked with, and does nothing."""
    from TumorRetrievalLib.worker import arguments as read
    from TumorRetrievalLib.worker.arguments import Arguments

    arguments = Arguments(given)
    readers = {
        "t1c": read.path, "boxes": read.boxes, "k": read.count, "tumor": read.row, "filters": read.filters,
        "weights": read.weights, "more": read.tumors, "like": read.names, "report": read.flag, "one_per": read.one_per,
    }  # fmt: skip
    for name, reader in readers.items():
        arguments.get(name, reader)
    arguments.done()
    return {}
