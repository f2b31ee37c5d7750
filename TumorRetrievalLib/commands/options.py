"""Options and arguments that several commands share."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.errors import InvalidBox


class Around(str, Enum):
    """What a box was drawn around."""

    core = "core"
    whole = "whole"


class Sizes(str, Enum):
    """How large a network and its patches are."""

    published = "published"
    small = "small"


class SliceNetworks(str, Enum):
    """The networks for slices."""

    paper = "paper"
    best = "best"


class SliceProtocols(str, Enum):
    """How slices are divided for training and testing."""

    patients = "patients"
    random = "random"


class Side(str, Enum):
    """Where in the brain a tumor lies."""

    left = "left"
    right = "right"
    front = "front"
    rear = "rear"
    upper = "upper"
    lower = "lower"


class OnePer(str, Enum):
    """What a list of similar cases shows once."""

    patient = "patient"
    case = "case"
    tumor = "tumor"


Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; without it a GPU if there is one.")]
Model = Annotated[Path | None, typer.Option(help="Folder of the model; without it the bundled one.")]
Index = Annotated[
    Path | None,
    typer.Option(help="Folder of the case index, or qdrant://HOST[:PORT]/COLLECTION; without it the bundled one."),
]


def box_of(text: str):
    """A box from `R,A,S,dR,dA,dS`; a text that is none is wrong usage."""
    from TumorRetrievalLib.imaging.box import parse_box

    try:
        return parse_box(text)
    except InvalidBox as error:
        raise typer.BadParameter(str(error)) from error
