"""The commands `index ...`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Model
from TumorRetrievalLib.commands.output import shown_progress

app = typer.Typer(help="Build and check case indexes.", no_args_is_help=True)


@app.command("build")
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


@app.command("stats")
def index_stats(folder: Annotated[Path, typer.Argument(help="Folder of the index.")]) -> None:
    """Print how many cases and tumors an index holds, of which types, and which model made it."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex

    with CaseIndex.open(folder) as index:
        print(json.dumps(index.stats(), indent=2))


@app.command("verify")
def index_verify(folder: Annotated[Path, typer.Argument(help="Folder of the index.")]) -> None:
    """Compare every byte of an index with its checksums, and its cases with its vectors."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex

    with CaseIndex.open(folder) as index:
        index.verify()
        print(f"{folder} is whole: {len(index)} tumors.")
