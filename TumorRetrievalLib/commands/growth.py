"""The commands about growth: fit a simulation to a tumor, simulate many tumors, measure the search among them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Around, Device, Model, box_of
from TumorRetrievalLib.commands.output import show_scores, shown_progress

app = typer.Typer()
evaluate_app = typer.Typer()

Database = Annotated[Path | None, typer.Option(help="File of simulated tumors; without it the bundled one.")]


@app.command()
def growth(
    scan: Annotated[Path, typer.Argument(help="Contrast-enhanced T1: NIfTI, NRRD, or a folder of DICOM files.")],
    out: Annotated[Path, typer.Option(help="Folder for density.nii.gz, its contours, result.json and growth.html.")],
    flair: Annotated[Path | None, typer.Option(help="FLAIR of the same patient.")] = None,
    core: Annotated[Path | None, typer.Option(help="Segmentation of the tumor core, on the scan's grid.")] = None,
    whole: Annotated[Path | None, typer.Option(help="Segmentation of the whole tumor with oedema.")] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="R,A,S,dR,dA,dS", help="Instead of both: the network outlines the tumor in this box."),
    ] = None,
    around: Annotated[Around, typer.Option(help="What the box encloses: the tumor core or everything.")] = Around.core,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many matches to list and to compare.")] = 15,
    database: Database = None,
    refine: Annotated[bool, typer.Option(help="Fit a simulation around the best matches.")] = True,
    deformable: Annotated[bool, typer.Option(help="Bend the atlas to the brain after the affine alignment.")] = True,
    model: Model = None,
    device: Device = None,
) -> None:
    """Fit a growth simulation to a tumor and bring its cell density back into the scan."""
    if (box is None) == (core is None and whole is None) or (core is None) != (whole is None):
        raise typer.BadParameter("say where the tumor is: either --box=R,A,S,dR,dA,dS, or --core FILE --whole FILE")
    from TumorRetrievalLib.engine.growth import GrowthOptions, GrowthRequest, fit_growth

    request = GrowthRequest(
        t1c=scan,
        out=out,
        flair=flair,
        core=core,
        whole=whole,
        box=None if box is None else box_of(box),
        around=around.value,
        options=GrowthOptions(k=k, database=database, refined=refine, deformable=deformable),
        model=model,
        device=device,
    )
    with shown_progress() as progress:
        result = fit_growth(request, progress=progress)
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    show_scores({f"Dice, {name.replace('_', ' ')}": row for name, row in result["dice"].items() if row is not None})
    parameters = result["parameters"]
    print(f"lambda = D / rho = {parameters['lambda_mm2']:.2f} mm^2, tau = rho T = {parameters['tau']:.1f}")
    print("D, rho and T alone cannot be told from one scan.")
    print(f"Report: {out / result['files']['report']}")


@app.command()
def simulate(
    count: Annotated[int, typer.Option(min=1, help="How many tumors.")],
    out: Annotated[Path, typer.Option(help="File to write. A simulation that was stopped goes on where it was.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other tumors.")] = 0,
    snapshots: Annotated[
        int, typer.Option(min=1, max=20, help="Tumors of different size from one simulation; fewer differ more.")
    ] = 4,
    t1: Annotated[Path | None, typer.Option(help="T1 of another atlas to grow them in, skull-stripped.")] = None,
    tissue: Annotated[
        Path | None, typer.Option(help="Tissue of that atlas on the same grid: 1 fluid, 2 gray, 3 white matter.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; without it one per core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Work on this Dask cluster instead.")
    ] = None,
) -> None:
    """Simulate tumors in the atlas, for `growth --database`. The same seed gives the same file on any machines."""
    if (t1 is None) != (tissue is None):
        raise typer.BadParameter("another atlas takes both --t1 and --tissue")
    from TumorRetrievalLib.engine.simulate import simulate_tumors

    with shown_progress() as progress:
        made = simulate_tumors(
            out,
            count,
            seed=seed,
            snapshots=snapshots,
            t1=t1,
            tissue=tissue,
            workers=workers,
            scheduler=scheduler,
            progress=progress,
        )
    print(f"{out}: {made['tumors']} tumors, {made['megabytes']:.1f} MB, {made['seconds']:.0f} s")


@evaluate_app.command("growth")
def evaluate_growth_command(
    masks: Annotated[Path, typer.Option(help="Real masks: .npz with seg (n, i, j, k), BraTS labels, and id (n,).")],
    database: Database = None,
    models: Annotated[
        list[Path] | None, typer.Option("--models", help="Folder of a training of growth-...; repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many masks.")] = None,
    refine: Annotated[bool, typer.Option(help="Also fit a simulation around the best matches.")] = True,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    device: Device = None,
) -> None:
    """How well simulated tumors overlap with real masks, and how often each search finds the best one."""
    from TumorRetrievalLib.evaluation.growth import evaluate_growth

    with shown_progress() as progress:
        result = evaluate_growth(
            masks,
            database,
            models=models or [],
            limit=limit,
            refined=refine,
            json_path=json_path,
            device=device,
            progress=progress,
        )
    print(f"{result['masks']} masks, {result['database_size']} simulated tumors. Dice of the best match:")
    show_scores(result["combined_dice"])
    show_scores(result["methods"])
