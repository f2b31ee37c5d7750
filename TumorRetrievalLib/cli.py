"""The command `tumor-retrieval`: arguments in, engine called, result shown. Nothing is computed here.

The engine is imported inside the commands, so that `--help` and a mistyped option answer at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib import __version__, cli_growth
from TumorRetrievalLib.cli_options import Around, Device, Index, Model, box_of
from TumorRetrievalLib.cli_output import show_error, show_examination, show_hits, show_scores, shown_progress
from TumorRetrievalLib.errors import TumorRetrievalError

app = typer.Typer(
    name="tumor-retrieval",
    help="Find brain tumors that look like this one. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

index_app = typer.Typer(help="Build and check case indexes.", no_args_is_help=True)
app.add_typer(index_app, name="index")
evaluate_app = typer.Typer(help="Measure how good the results are.", no_args_is_help=True)
evaluate_app.add_typer(cli_growth.evaluate_app)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(cli_growth.app)

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
        growth=growth,
        device=device,
    )
    with shown_progress() as progress:
        result = find_similar(request, progress=progress)
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    show_hits(result)
    print(f"Report: {out / 'report.html'}")


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
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="default; pisov (the network and schedule of Pisov et al. 2018); or growth-vae8, growth-vae1024 or "
            "growth-ae (the autoencoders of tumor masks of Rosier 2022)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, loss curves, and the model.")],
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Budget in minutes instead of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Budget in steps instead of the recipe's.")] = None,
    grid: Annotated[
        int, typer.Option(help="growth-... only: voxels along an edge, 128 as published, or 64 where there is no GPU.")
    ] = 128,
) -> None:
    """Train a network on synthetic patients, or two on simulated tumors. A training that was stopped goes on."""
    if recipe.startswith("growth-"):
        from TumorRetrievalLib.engine.train_growth import train_growth

        with shown_progress() as progress:
            train_growth(recipe, out, edge=grid, minutes=minutes, steps=steps, progress=progress)
        print(f"Models: {out / 'whole' / 'model'} and {out / 'core' / 'model'}")
        return
    from TumorRetrievalLib.training.commands import train_recipe

    with shown_progress() as progress:
        model = train_recipe(recipe, out, minutes=minutes, steps=steps, progress=progress)
    print(f"Model: {model}")


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


@index_app.command("build")
def index_build(
    out: Annotated[Path, typer.Option(help="Folder of the new index; an index in it is replaced when all is done.")],
    model: Model = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; without it one per core.")] = None,
) -> None:
    """Build the index of synthetic cases for a model. A build that was stopped goes on where it was."""
    from TumorRetrievalLib.engine.build_index import build_bundled_index

    with shown_progress() as progress:
        stats = build_bundled_index(out, model=model, workers=workers, progress=progress)
    print(json.dumps(stats, indent=2))


@index_app.command("stats")
def index_stats(folder: Annotated[Path, typer.Argument(help="Folder of the index.")]) -> None:
    """Print how many cases and tumors an index holds, of which types, and which model made it."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex

    with CaseIndex.open(folder) as index:
        print(json.dumps(index.stats(), indent=2))


@index_app.command("verify")
def index_verify(folder: Annotated[Path, typer.Argument(help="Folder of the index.")]) -> None:
    """Compare every byte of an index with its checksums, and its cases with its vectors."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex

    with CaseIndex.open(folder) as index:
        index.verify()
        print(f"{folder} is whole: {len(index)} tumors.")


@evaluate_app.command("segmentation")
def evaluate_segmentation_command(
    cases: Annotated[Path, typer.Option(help="Folder with one folder per case: t1c, flair and seg .nii.gz.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    model: Model = None,
    device: Device = None,
) -> None:
    """Dice of the outlined masks in boxes drawn around the true ones, beside what needs no network."""
    from TumorRetrievalLib.evaluation.segmentation import evaluate_segmentation

    with shown_progress() as progress:
        result = evaluate_segmentation(cases, json_path=json_path, model=model, device=device, progress=progress)
    show_scores(result["cases"] | {"mean": result["mean"]})


@evaluate_app.command("retrieval")
def evaluate_retrieval_command(
    index: Index = None,
    model: Model = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    seed: Annotated[int, typer.Option(help="Which patients ask and which answer.")] = 0,
    queries: Annotated[int | None, typer.Option(min=1, help="At most so many held-out cases.")] = None,
) -> None:
    """Labels predicted from the five most similar cases: Table 4 of Pisov et al. 2018, on synthetic patients."""
    from TumorRetrievalLib.evaluation.retrieval import evaluate_retrieval

    with shown_progress() as progress:
        result = evaluate_retrieval(
            index=index, model=model, json_path=json_path, seed=seed, queries=queries, progress=progress
        )
    tables = {name: table for name, table in result.items() if isinstance(table, dict)}
    show_scores({f"{name}, {which}": row for name, table in tables.items() for which, row in table.items()})


@evaluate_app.command("growth-table")
def evaluate_growth_table_command(
    database: Annotated[Path, typer.Option(help="Database of simulated tumors.")],
    masks: Annotated[
        Path | None, typer.Option(help="Real masks: .npz with seg (n, i, j, k), BraTS labels, and id (n,).")
    ] = None,
    models: Annotated[
        list[Path] | None, typer.Option("--models", help="Folder of a training of growth-...; repeatable.")
    ] = None,
    tumors: Annotated[int | None, typer.Option(min=1, help="Only the first so many tumors of the database.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many queries of each kind.")] = 120,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    device: Device = None,
) -> None:
    """Table 1 of Rosier 2022: how often each search finds what comparing with everything finds, and how fast."""
    from TumorRetrievalLib.evaluation.growth_table import evaluate_growth_table

    with shown_progress() as progress:
        result = evaluate_growth_table(
            database,
            models=models or [],
            masks=masks,
            tumors=tumors,
            limit=limit,
            json_path=json_path,
            device=device,
            progress=progress,
        )
    for name, part in (("simulated", result["synthetic"]), ("real", result if masks else None)):
        if part is not None:
            print(f"{part['masks']} {name} tumors ask {result['database_size']}:")
            show_scores(part["methods"])
    for method, reason in result["not_run"].items():
        print(f"{method}: not run, {reason}")


if __name__ == "__main__":
    main()
