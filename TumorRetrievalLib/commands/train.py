"""The command `train`."""

from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import SliceNetworks
from TumorRetrievalLib.commands.output import shown_progress

app = typer.Typer()


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="default; pisov (the network and schedule of Pisov et al. 2018); slices (see --network and --data); "
            "or growth-vae8, growth-vae1024 or growth-ae (the autoencoders of tumor masks of Rosier 2022)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, loss curves, and the model.")],
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Budget in minutes instead of the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Budget in steps instead of the recipe's.")] = None,
    grid: Annotated[
        int, typer.Option(help="growth-... only: voxels along an edge, 128 as published, or 64 where there is no GPU.")
    ] = 128,
    data: Annotated[Path | None, typer.Option(help="slices only: .npz with image, label and mask_packed.")] = None,
    network: Annotated[
        SliceNetworks, typer.Option(help="slices only: that of Mueller Ferreira et al. 2024, or a stronger one.")
    ] = SliceNetworks.best,
    attribution: Annotated[
        str, typer.Option(help="slices only: whose the data are, and their licence; it travels with the weights.")
    ] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="slices only: instead of the network's own.")] = None,
) -> None:
    """Train a network on synthetic patients, on slices, or two on simulated tumors. What was stopped goes on."""
    if recipe == "slices":
        _train_slices(data, network, out, attribution, epochs)
        return
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


def _train_slices(data: Path | None, network: SliceNetworks, out: Path, attribution: str, epochs: int | None) -> None:
    if data is None:
        raise typer.BadParameter("say which slices to train on: --data FILE.npz")
    from TumorRetrievalLib.training.slice_data import read_slices
    from TumorRetrievalLib.training.slices import train_slices

    slices = read_slices(data)
    with shown_progress() as progress:
        model = train_slices(
            network.value, slices, out, data=data.name, attribution=attribution, epochs=epochs, progress=progress
        )
    print(f"Model: {model}")
