"""The command `find`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Around, Device, Index, Model, box_of
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
    side: Annotated[list[str] | None, typer.Option(help="Only cases on this side: left or right.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="BLOCK=NUMBER", help="How much appearance, type, position or extent counts; repeatable."),
    ] = None,
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
        filters=Filters(types=tuple(type_ or ()), areas=tuple(area or ()), left_right=tuple(side or ())),
        weights=block_weights,
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
