"""The command `sbom`."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def sbom(
    out: Annotated[Path | None, typer.Option(help="File to write; without it the list is printed.")] = None,
) -> None:
    """List what this installation consists of: packages and bundled files, as a CycloneDX 1.6 bill of materials."""
    from TumorRetrievalLib.engine.sbom import bill_of_materials
    from TumorRetrievalLib.imaging.atomic import atomic_file

    text = json.dumps(bill_of_materials(), indent=2)
    if out is None:
        print(text)
        return
    with atomic_file(out) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(f"{out} is written.")
