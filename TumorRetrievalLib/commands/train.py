"""The command `train`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Sizes, SliceNetworks
from TumorRetrievalLib.commands.output import shown_progress

app = typer.Typer()


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="default; pisov (the network and schedule of Pisov et al. 2018); plgg (Vafaeikia et al. 2021); "
            "med3d-unet (Epstein & Shimshi 2021); slices (see --network and --data); or growth-vae8, growth-vae1024 or "
            "growth-ae (the autoencoders of tumor masks of Rosier 2022)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, loss curves, and the model.")],
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Budget in minutes instead of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Budget in steps instead of the recipe's.")] = None,
    grid: Annotated[
        int, typer.Option(help="growth-... only: voxels along an edge, 128 as published, or 64 where there is no GPU.")
    ] = 128,
    data: Annotated[
        str,
        typer.Option(
            help="SYNTHETIC, or a manifest (CSV) of one's own cases; for slices an .npz with image, label and "
            "mask_packed; growth-... takes none."
        ),
    ] = "SYNTHETIC",
    start: Annotated[
        Path | None,
        typer.Option("--start-from", help="Not slices or growth-...: train the weights of this model further."),
    ] = None,
    size: Annotated[
        Sizes | None,
        typer.Option(help="pisov, plgg, med3d-unet: as published, or small; without it small where there is no GPU."),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Keep the prepared scans here, to share them between runs.")
    ] = None,
    patients: Annotated[
        int | None, typer.Option(min=20, help="plgg, med3d-unet: synthetic patients, instead of the paper's number.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="pisov: of the feature map; the paper's are 32, 64, 96.")] = 64,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="pisov: what is trained, with commas between: some of segmentation, type, area, left_right, "
            "front_rear, upper_lower; without it all."
        ),
    ] = None,
    single_task: Annotated[bool, typer.Option("--single-task", help="plgg: without the genetic marker.")] = False,
    split: Annotated[int, typer.Option(min=1, max=6, help="plgg: which of the six divisions of the patients.")] = 1,
    encoder: Annotated[int, typer.Option(help="med3d-unet: depth of the encoders: 10, 18 or 50.")] = 10,
    checkpoint: Annotated[Path | None, typer.Option(help="med3d-unet: MedicalNet's weights for the encoders.")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="med3d-unet: keep the encoders as they came.")] = False,
    network: Annotated[
        SliceNetworks, typer.Option(help="slices only: that of Mueller Ferreira et al. 2024, or a stronger one.")
    ] = SliceNetworks.best,
    attribution: Annotated[
        str, typer.Option(help="slices only: whose the data are, and their licence; it travels with the weights.")
    ] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="slices only: instead of the network's own.")] = None,
) -> None:
    """Train a network on synthetic patients, on your own cases, or on simulated tumors. What was stopped goes on."""
    if recipe == "slices":
        _train_slices(None if data == "SYNTHETIC" else Path(data), network, out, attribution, epochs)
        return
    if recipe.startswith("growth-"):
        from TumorRetrievalLib.engine.train_growth import train_growth

        with shown_progress() as progress:
            train_growth(recipe, out, edge=grid, minutes=minutes, steps=steps, progress=progress)
        for mask in ("whole", "core"):
            _show_card(out / mask / "model")
        print(f"Models: {out / 'whole' / 'model'} and {out / 'core' / 'model'}")
        return
    from TumorRetrievalLib.training.commands import train_recipe
    from TumorRetrievalLib.training.team import this_team

    with shown_progress() as progress:
        model = train_recipe(
            recipe,
            out,
            data=data,
            minutes=minutes,
            steps=steps,
            start=start,
            size=None if size is None else size.value,
            cases=cases,
            patients=patients,
            channels=channels,
            single_task=single_task,
            split=split,
            encoder=encoder,
            checkpoint=checkpoint,
            freeze=freeze,
            progress=progress,
            **({} if tasks is None else {"tasks": tuple(tasks.replace(" ", "").split(","))}),
        )
    if this_team().leads:
        _show_card(model)
        print(f"Model: {model}")


def _show_card(model: Path) -> None:
    """Makes a page of the model's card."""
    from TumorRetrievalLib.report.model_card_page import write_card_page
    from TumorRetrievalLib.training.model_card import CARD_NAME

    page = write_card_page(model, json.loads((model / CARD_NAME).read_text(encoding="utf-8")))
    print(f"Model card: {page}")


def _train_slices(data: Path | None, network: SliceNetworks, out: Path, attribution: str, epochs: int | None) -> None:
    if data is None:
        raise typer.BadParameter("say which slices to train on: --data FILE.npz")
    from TumorRetrievalLib.training.model_card import card_of_contract, write_card
    from TumorRetrievalLib.training.slice_data import read_slices
    from TumorRetrievalLib.training.slices import train_slices

    slices = read_slices(data)
    with shown_progress() as progress:
        model = train_slices(
            network.value, slices, out, data=data.name, attribution=attribution, epochs=epochs, progress=progress
        )
    write_card(model, card_of_contract(model))
    _show_card(model)
    print(f"Model: {model}")
