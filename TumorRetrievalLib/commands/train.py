"""The command `train`."""

from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.output import shown_progress

app = typer.Typer()


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
