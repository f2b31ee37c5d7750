"""The command `find`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Around, Device, Index, Model, OnePer, Side, box_of
from TumorRetrievalLib.commands.output import show_hits, shown_progress

app = typer.Typer()


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not name or not 0 <= weight < float("inf"):
        raise typer.BadParameter(f"a weight is BLOCK=NUMBER, 0 or more, such as position=2, not {text!r}")
    return name, weight


def sides_of(sides: list[Side]) -> dict[str, tuple[str, ...]]:
    """The sides as fields of `Filters`: those of one axis are alternatives."""
    axes = {"left_right": ("left", "right"), "front_rear": ("front", "rear"), "upper_lower": ("upper", "lower")}
    return {axis: tuple(side.value for side in sides if side.value in names) for axis, names in axes.items()}


@app.command()
def find(
    scan: Annotated[Path, typer.Argument(help="Contrast-enhanced T1: NIfTI, NRRD, or a folder of DICOM files.")],
    out: Annotated[Path, typer.Option(help="Folder for result.json, the masks and report.html.")],
    flair: Annotated[Path | None, typer.Option(help="FLAIR of the same patient.")] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="R,A,S,dR,dA,dS", help="Centre and size in RAS mm; once per tumor. Write --box=..."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Segmentation on the scan's grid: one box per part.")] = None,
    around: Annotated[Around, typer.Option(help="What the boxes enclose: the tumor core or everything.")] = Around.core,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many similar cases.")] = 5,
    index: Index = None,
    model: Model = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="Only cases of this tumor type; repeatable.")
    ] = None,
    area: Annotated[list[str] | None, typer.Option(help="Only cases in this area; repeatable.")] = None,
    side: Annotated[
        list[Side] | None,
        typer.Option(help="Only cases on this side; repeatable: front and left are both required, left or right one."),
    ] = None,
    smallest_ml: Annotated[
        float | None, typer.Option(min=0, help="Only tumors with a core of at least so many ml.")
    ] = None,
    largest_ml: Annotated[
        float | None, typer.Option(min=0, help="Only tumors with a core of at most so many ml.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="BLOCK=NUMBER", help="How much appearance, type, position or extent counts; repeatable."),
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(metavar="CASE[/TUMOR]", help="More like this case of the index; repeatable.")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(metavar="CASE[/TUMOR]", help="Less like this case of the index; repeatable.")
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Ignore the side of the brain.")] = False,
    look_alikes: Annotated[
        bool, typer.Option("--look-alikes", help="The most similar cases of another type than the best match.")
    ] = False,
    together: Annotated[
        bool, typer.Option("--together", help="Cases whose tumors, as a set, resemble all boxes together.")
    ] = False,
    one_per: Annotated[OnePer, typer.Option(help="What the list shows once.")] = OnePer.patient,
    jitter: Annotated[
        int, typer.Option(min=0, max=100, help="Draw each box so often again and tell which cases stay in the list.")
    ] = 0,
    growth: Annotated[bool, typer.Option(help="Also simulate the growth of tumors that seem to be gliomas.")] = False,
    device: Device = None,
) -> None:
    """Find the known cases most similar to the tumor in each box."""
    if bool(box) == bool(mask):
        raise typer.BadParameter("say where the tumor is: either --box=R,A,S,dR,dA,dS (repeatable) or --mask FILE")
    boxes = [box_of(text) for text in box or []]
    if look_alikes and together:
        raise typer.BadParameter("look-alikes are found for single tumors: take --look-alikes or --together")
    block_weights = dict(_weight(part) for text in weights or [] for part in text.split(","))
    from TumorRetrievalLib.engine.find import FindRequest, find_similar
    from TumorRetrievalLib.retrieval.filters import Filters

    request = FindRequest(
        t1c=scan,
        flair=flair,
        boxes=boxes,
        mask=mask,
        around=around.value,
        k=k,
        out=out,
        index=index,
        model=model,
        filters=Filters(
            types=tuple(type_ or ()),
            areas=tuple(area or ()),
            **sides_of(side or []),
            smallest_ml=smallest_ml,
            largest_ml=largest_ml,
        ),
        weights=block_weights,
        liked=like or [],
        disliked=unlike or [],
        mirrored=mirrored,
        look_alikes=look_alikes,
        together=together,
        one_per=one_per.value,
        jitter=jitter,
        growth=growth,
        device=device,
    )
    with shown_progress() as progress:
        result = find_similar(request, progress=progress)
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    show_hits(result)
    print(f"Report: {out / 'report.html'}")
