"""The command `tumor-retrieval`: arguments in, engine called, result shown. Nothing is computed here.

The engine is imported inside the commands, so that `--help` and a mistyped option answer at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib import __version__
from TumorRetrievalLib.commands import evaluate, find, growth, index, sbom, train
from TumorRetrievalLib.commands.options import Device, Model
from TumorRetrievalLib.commands.output import show_error, show_examination, shown_progress
from TumorRetrievalLib.errors import TumorRetrievalError

app = typer.Typer(
    name="tumor-retrieval",
    help="Find brain tumors that look like this one. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(find.app)
app.add_typer(train.app)
app.add_typer(growth.app)
app.add_typer(sbom.app)
app.add_typer(index.app, name="index")
evaluate.app.add_typer(growth.evaluate_app)
app.add_typer(evaluate.app, name="evaluate")

INTERRUPTED = 130


def main() -> None:
    """Run the command and leave: 0 when it is done, 1 on an error, 2 on wrong usage, 130 on Ctrl-C."""
    try:
        app(prog_name="tumor-retrieval")
    except TumorRetrievalError as error:
        show_error(error)
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            print("Stopped.", file=sys.stderr)
        raise


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def segment(
    scan: Annotated[Path, typer.Argument(help="Contrast-enhanced T1: NIfTI, NRRD, or a folder of DICOM files.")],
    out: Annotated[Path, typer.Option(help="Folder for segment.json and the masks.")],
    flair: Annotated[Path | None, typer.Option(help="FLAIR of the same patient.")] = None,
    model: Model = None,
    device: Device = None,
) -> None:
    """Outline what looks like a tumor in the whole brain, and suggest boxes. Expect misses and false alarms."""
    from TumorRetrievalLib.engine.segment import SegmentRequest, segment_brain

    request = SegmentRequest(t1c=scan, out=out, flair=flair, model=model, device=device)
    with shown_progress() as progress:
        result = segment_brain(request, progress=progress)
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    print(f"Core {result['core_ml']:.1f} ml, whole {result['whole_ml']:.1f} ml. Suggested boxes:")
    for box in result["boxes"]:
        # On an oblique scan the suggestion is turned; --box is not, so it gets the box that encloses it.
        size = [sum(abs(part) * edge for part, edge in zip(row, box["size_mm"], strict=True)) for row in box["axes"]]
        print("--box=" + ",".join(f"{value:.1f}" for value in [*box["center_ras"], *size]))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show versions, devices, models and indexes, and check every bundled file. Exit code 1 if something is wrong."""
    from TumorRetrievalLib.engine.doctor import as_rows, examine

    examination = examine()
    if as_json:
        print(json.dumps(examination, indent=2))
    else:
        show_examination(as_rows(examination))
        for problem in examination["problems"]:
            print(problem, file=sys.stderr)
    if not examination["ok"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
