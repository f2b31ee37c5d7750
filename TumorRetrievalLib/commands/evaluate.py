"""The commands `evaluate ...`, besides those of growth."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Device, Index, Model, Sizes, SliceNetworks, SliceProtocols
from TumorRetrievalLib.commands.output import show_scores, shown_progress
from TumorRetrievalLib.errors import InvalidRequest

app = typer.Typer(help="Measure how good the results are.", no_args_is_help=True)

NoteIn = Annotated[
    Path | None, typer.Option(metavar="MODEL_FOLDER", help="Also keep the scores in this model's card, with its page.")
]


@app.command("segmentation")
def evaluate_segmentation_command(
    cases: Annotated[Path, typer.Option(help="Folder with one folder per case: t1c, flair and seg .nii.gz.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    model: Model = None,
    device: Device = None,
    note_in: NoteIn = None,
) -> None:
    """Dice of the outlined masks in boxes drawn around the true ones, beside what needs no network."""
    from TumorRetrievalLib.evaluation.card_entries import segmentation_entry
    from TumorRetrievalLib.evaluation.segmentation import evaluate_segmentation

    _require_same_weights(note_in, model, "default")
    with shown_progress() as progress:
        result = evaluate_segmentation(cases, json_path=json_path, model=model, device=device, progress=progress)
    show_scores(result["cases"] | {"mean": result["mean"]})
    if note_in is not None:
        _note(note_in, "segmentation", segmentation_entry(result, f"evaluate segmentation --cases {_shown(cases)}"))


@app.command("shared-boxes")
def evaluate_shared_boxes_command(
    patients: Annotated[int, typer.Option(min=1, help="Synthetic patients to draw.")] = 30,
    first: Annotated[int, typer.Option(min=0, help="Number of the first; 0 to 29 were used for the design.")] = 30,
    model: Model = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
) -> None:
    """Dice of tumors that share one drawn box: as the network answers, and each outlined by itself."""
    from TumorRetrievalLib.evaluation.shared_boxes import evaluate_shared_boxes

    with shown_progress() as progress:
        result = evaluate_shared_boxes(patients, first, model, json_path, progress)
    show_scores(result["table"])


@app.command("familiarity")
def evaluate_familiarity_command(
    cases: Annotated[
        Path | None, typer.Option(help="Real scans with masks, as for `segmentation`; else synthetic ones alone.")
    ] = None,
    patients: Annotated[int, typer.Option(min=0, help="Synthetic patients to draw.")] = 60,
    index: Index = None,
    model: Model = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
) -> None:
    """How often "nothing similar" is said: of boxes on tumors, and of boxes where there is none."""
    from TumorRetrievalLib.evaluation.familiarity import evaluate_familiarity

    with shown_progress() as progress:
        result = evaluate_familiarity(cases, patients, index, model, json_path, progress=progress)
    show_scores(result["table"])


@app.command("retrieval")
def evaluate_retrieval_command(
    index: Index = None,
    model: Model = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    seed: Annotated[int, typer.Option(help="Which patients ask and which answer.")] = 0,
    queries: Annotated[int | None, typer.Option(min=1, help="At most so many held-out cases.")] = None,
    asking: Annotated[
        Path | None,
        typer.Option(help="patients.json of a training on the same cases: the patients that it kept back ask."),
    ] = None,
    note_in: NoteIn = None,
) -> None:
    """Labels predicted from the five most similar cases of an index: Table 4 of Pisov et al. 2018."""
    from TumorRetrievalLib.evaluation.card_entries import retrieval_entry
    from TumorRetrievalLib.evaluation.retrieval import evaluate_retrieval

    _require_same_weights(note_in, model, "default")
    with shown_progress() as progress:
        result = evaluate_retrieval(
            index=index,
            model=model,
            json_path=json_path,
            seed=seed,
            queries=queries,
            progress=progress,
            asking=asking,
        )
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    tables = {name: table for name, table in result.items() if isinstance(table, dict)}
    show_scores({f"{name}, {which}": row for name, table in tables.items() for which, row in table.items()})
    if note_in is not None:
        given = {
            "index": index and _shown(index),
            "seed": seed,
            "queries": queries,
            "asking": asking and _shown(asking),
        }
        options = "".join(f" --{name} {value}" for name, value in given.items() if value)
        _note(note_in, "retrieval", retrieval_entry(result, f"evaluate retrieval{options}"))


@app.command("slices")
def evaluate_slices_command(
    data: Annotated[Path, typer.Option(help="Slices: .npz with image, label, mask_packed and fold.")],
    network: Annotated[
        SliceNetworks, typer.Option(help="That of Mueller Ferreira et al. 2024, or a stronger one.")
    ] = SliceNetworks.best,
    protocol: Annotated[
        SliceProtocols | None,
        typer.Option(help="Train for it (long): by patients, or by random slices as in the paper, which leaks."),
    ] = None,
    model: Model = None,
    runs: Annotated[Path | None, typer.Option(help="Keep the protocol's trainings here; stopped ones go on.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many trainings of the protocol.")] = None,
    note_in: NoteIn = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
) -> None:
    """Type and outline of single slices, with the trained weights, or with networks trained for a protocol."""
    from TumorRetrievalLib.evaluation.card_entries import slices_entry
    from TumorRetrievalLib.evaluation.slices import evaluate_slices
    from TumorRetrievalLib.resources import is_bundled
    from TumorRetrievalLib.training.model_card import require_architecture

    bundled = f"slices-{network.value}"
    if protocol is None and (model is not None or is_bundled("Models", bundled)):
        _require_same_weights(note_in, model, bundled)
    elif note_in is not None:
        require_architecture(note_in, f"slices_{network.value}")
    with shown_progress() as progress:
        result = evaluate_slices(
            data,
            network=network.value,
            protocol=None if protocol is None else protocol.value,
            model=model,
            runs=runs,
            limit=limit,
            json_path=json_path,
            progress=progress,
        )
    columns = ("accuracy", "precision", "recall", "iou")
    rows = {"all": result, **result.get("trainings", {}), **result["per_class"]}
    if "not_trained_on" in result:
        rows["not trained on"] = result["not_trained_on"]
    print(f"{result['parameters']} parameters. {result['note']}")
    show_scores({name: {column: row.get(column) for column in columns} for name, row in rows.items()})
    if note_in is not None:
        options = (f" --protocol {protocol.value}" if protocol else "") + (f" --limit {limit}" if limit else "")
        command = f"evaluate slices --network {network.value} --data {_shown(data)}{options}"
        if result.get("slices_trained_on") == result["slices"]:
            raise InvalidRequest(f"Every slice of {data} was trained on, so nothing is noted: measure on other slices.")
        _note(note_in, f"slices, {result['protocol']}", slices_entry(result, command))


@app.command("markers")
def evaluate_markers_command(
    runs: Annotated[Path | None, typer.Option(help="Folder that holds the runs of `train plgg`.")] = None,
    data: Annotated[str, typer.Option(help="What they were trained on: a manifest, or SYNTHETIC.")] = "SYNTHETIC",
    cases: Annotated[Path | None, typer.Option(help="Folder of the prepared scans, if the runs shared one.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
) -> None:
    """Table 1 of Vafaeikia et al. 2021: low-grade gliomas outlined with and without the genetic marker."""
    from TumorRetrievalLib.evaluation.markers import evaluate_markers, table_of

    with shown_progress() as progress:
        result = evaluate_markers(runs, data, cases, json_path=json_path, progress=progress)
    for words in result["data"]:
        print(words)
    print("The paper: 311 patients of one hospital. It does not say how well it classified markers.")
    show_scores(table_of(result))


@app.command("pisov")
def evaluate_pisov_command(
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs of `train pisov`.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures of Figures 4 and 5.")],
    minutes_each: Annotated[
        float | None,
        typer.Option(min=0.01, help="First train every missing row of the tables, so long. Stopped ones go on."),
    ] = None,
    size: Annotated[
        Sizes | None,
        typer.Option(help="Of those trainings: published or small; without it small where there is no GPU."),
    ] = None,
    patients: Annotated[
        int, typer.Option(min=10, max=989, help="How many are looked at, a fifth of them held out.")
    ] = 989,
    cases: Annotated[
        Path | None, typer.Option(help="Keep the painted patients and their embeddings here, not in RUNS.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    model: Model = None,
    device: Device = None,
) -> None:
    """Tables 2 to 4 and Figures 4 and 5 of Pisov et al. 2018, on synthetic patients."""
    from TumorRetrievalLib.evaluation.pisov import evaluate_pisov, rows_of

    with shown_progress() as progress:
        result = evaluate_pisov(
            runs,
            out,
            json_path,
            patients=patients,
            cases=cases,
            minutes_each=minutes_each,
            size=None if size is None else size.value,
            model=model,
            device=device,
            progress=progress,
        )
    cohort = result["cohort"]
    print(f"{cohort['held_out_tumors']} synthetic tumors ask {cohort['gallery_tumors']}. Paper: its own patients.")
    for table in ("table_2", "table_3", "table_4"):
        print(table.replace("_", " ").capitalize())
        show_scores(rows_of(result, table))


@app.command("brats")
def evaluate_brats_command(
    cases: Annotated[Path, typer.Option(help="Cases with T1c, FLAIR and mask in the manner of BraTS.")],
    model: Annotated[Path, typer.Option(help="Folder that `train med3d-unet` has left.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")] = None,
    device: Device = None,
) -> None:
    """Whole tumor, tumor core and enhancing tumor in whole scans, as Epstein & Shimshi 2021."""
    from TumorRetrievalLib.evaluation.brats import evaluate_brats

    with shown_progress() as progress:
        result = evaluate_brats(cases, model, json_path=json_path, device=device, progress=progress)
    bounds = {
        bound: {region: row[bound] for region, row in result["mean"].items()} for bound in ("mean", "low", "high")
    }
    paper = {f"paper: {name}": row for name, row in result["paper"].items()}
    print("The paper: 43 scans of BraTS 2019, four modalities. Here: " + " and ".join(result["channels"]) + ".")
    show_scores(result["cases"] | bounds | paper)


@app.command("growth-table")
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


def _require_same_weights(note_in: Path | None, model: Path | None, bundled: str) -> None:
    """Before anything is measured for long: whether its scores may be noted where they are wanted."""
    if note_in is not None:
        from TumorRetrievalLib.resources import resource
        from TumorRetrievalLib.training.model_card import require_same_weights

        require_same_weights(note_in, model or resource("Models", bundled))


def _note(note_in: Path, name: str, entry: dict) -> None:
    """Keeps an entry in a model's card, and makes its page anew."""
    from TumorRetrievalLib.report.model_card_page import write_card_page
    from TumorRetrievalLib.training.model_card import note_measured

    print(f"Model card: {write_card_page(note_in, note_measured(note_in, name, entry))}")


def _shown(path: Path) -> str:
    """A path as others can use it: relative as it was given, or its name alone."""
    return path.name if path.is_absolute() else path.as_posix()
