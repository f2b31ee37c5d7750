"""A model with random weights, an index of four cases, and the bundled sample patient."""

import json
from pathlib import Path

import pytest

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.engine.build_index import build_bundled_index
from TumorRetrievalLib.engine.find import FindRequest
from TumorRetrievalLib.imaging.box import parse_box
from TumorRetrievalLib.resources import resource


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A folder with a narrow network that nobody trained."""
    import torch

    from TumorRetrievalLib.networks.default import DefaultNetwork
    from TumorRetrievalLib.networks.weights import save_model

    torch.manual_seed(1)
    network = DefaultNetwork(widths=(8, 8, 8))
    return save_model(tmp_path_factory.mktemp("model"), network, {"name": "tiny", "labels": {"type": list(TYPES)}})


@pytest.fixture(scope="session")
def tiny_index(tmp_path_factory, tiny_model) -> Path:
    """The first case of each type, read by the tiny model."""
    folder = tmp_path_factory.mktemp("index")
    build_bundled_index(folder, tiny_model, workers=1, limit=1)
    return folder


@pytest.fixture
def sample() -> dict:
    """The bundled sample patient: paths and the drawn box."""
    facts = json.loads(resource("SampleCases", "demo.json").read_text(encoding="utf-8"))
    paths = {name: resource("SampleCases", facts[name]) for name in ("t1c", "flair")}
    return {**paths, "box": parse_box(facts["boxes"][0])}


@pytest.fixture
def request_for(sample, tiny_model, tiny_index, tmp_path):
    """A function that makes a request about the sample patient, changed as the test wants."""

    def make(**changes) -> FindRequest:
        usual = {
            "t1c": sample["t1c"],
            "flair": sample["flair"],
            "boxes": [sample["box"]],
            "k": 2,
            "out": tmp_path / "result",
            "index": tiny_index,
            "model": tiny_model,
        }
        return FindRequest(**{**usual, **changes})

    return make
