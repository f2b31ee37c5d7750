"""The commands `index ...`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from TumorRetrievalLib.commands.options import Device, Model
from TumorRetrievalLib.commands.output import show_listing, show_outcome, show_scores, shown_progress

app = typer.Typer(help="Make, change, check and carry case indexes.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; without it one per core, on a GPU one.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]


@app.command("build")
def index_build(
    archive: Annotated[Path, typer.Argument(help="A folder of cases in the manner of BraTS, or a CSV manifest.")],
    into: Annotated[Path, typer.Option(help="Folder of the index; cases are added to one that is there.")],
    dry_run: Annotated[bool, typer.Option(help="Only list what would be indexed, and every problem.")] = False,
    model: Model = None,
    workers: Workers = None,
    device: Device = None,
    json_path: Json = None,
) -> None:
    """Index your own cases. A build that was stopped goes on where it was; the archive is never changed."""
    from TumorRetrievalLib.engine.archive import ReadWith, build_archive_index, plan_build

    with shown_progress() as progress:
        if dry_run:
            result = plan_build(archive, into, progress)
        else:
            result = build_archive_index(archive, into, ReadWith(model, device, workers), progress)
    if dry_run:
        show_listing(result)
    _conclude(result, json_path)


@app.command("build-synthetic")
def index_build_synthetic(
    out: Annotated[Path, typer.Option(help="Folder of the new index; an index in it is replaced when all is done.")],
    model: Model = None,
    workers: Workers = None,
) -> None:
    """Build the bundled index of synthetic cases for a model. A build that was stopped goes on where it was."""
    from TumorRetrievalLib.engine.build_index import build_bundled_index

    with shown_progress() as progress:
        stats = build_bundled_index(out, model=model, workers=workers, progress=progress)
    print(json.dumps(stats, indent=2))


@app.command("add")
def index_add(
    folder: Folder,
    cases: Annotated[list[Path], typer.Argument(metavar="CASE...", help="Folders of cases, or CSV manifests.")],
    model: Model = None,
    workers: Workers = None,
    device: Device = None,
    json_path: Json = None,
) -> None:
    """Add cases to an index."""
    from TumorRetrievalLib.engine.archive import ReadWith, add_cases

    with shown_progress() as progress:
        result = add_cases(folder, cases, ReadWith(model, device, workers), progress)
    _conclude(result, json_path)


@app.command("remove")
def index_remove(
    folder: Folder,
    cases: Annotated[list[str], typer.Argument(metavar="CASE...", help="Ids of cases.")],
) -> None:
    """Remove cases for good: vectors, labels, masks and cached scans. The archive itself is not touched."""
    from TumorRetrievalLib.engine.index_care import remove_cases

    with shown_progress() as progress:
        result = remove_cases(folder, cases, progress)
    print(f"Removed {len(result['removed'])}; {result['index']['cases']} cases are left.")


@app.command("stats")
def index_stats(folder: Folder) -> None:
    """Print how many cases and tumors an index holds, of which types, which model made it, and where its scans are."""
    from TumorRetrievalLib.engine.index_care import index_facts

    print(json.dumps(index_facts(folder), indent=2))


@app.command("verify")
def index_verify(folder: Folder) -> None:
    """Compare every byte of an index with its checksums, and its cases with its vectors."""
    from TumorRetrievalLib.retrieval.index_manifest import read_manifest
    from TumorRetrievalLib.retrieval.verification import verify_index

    verify_index(folder)
    print(f"{folder} is whole: {read_manifest(folder).tumors} tumors.")


@app.command("relocate")
def index_relocate(
    folder: Folder,
    new: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the archive lies now.")],
    old: Annotated[Path | None, typer.Option("--from", help="Which one has moved, if there are several.")] = None,
) -> None:
    """Say where the scans of an index are after their archive has moved."""
    from TumorRetrievalLib.engine.index_care import relocate_archive

    print(json.dumps(relocate_archive(folder, new, old), indent=2))


@app.command("export")
def index_export(
    folder: Folder, file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write (.zip).")]
) -> None:
    """Write an index into one file, without scans and without paths outside the archive."""
    from TumorRetrievalLib.retrieval.portable import export_index

    result = export_index(folder, file)
    print(f"{file}: {result['cases']} cases, {result['bytes'] / 1e6:.1f} MB")


@app.command("import")
def index_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `index export` has written.")],
    into: Annotated[Path, typer.Option(help="Folder of the new index.")],
) -> None:
    """Make an index of an exported file; everything in it is checked first."""
    from TumorRetrievalLib.retrieval.portable import import_index

    print(json.dumps(import_index(file, into), indent=2))


@app.command("upload")
def index_upload(
    folder: Folder,
    to: Annotated[Path, typer.Option(metavar="qdrant://HOST[:PORT]/COLLECTION", help="A new collection.")],
) -> None:
    """Copy an index to a Qdrant server, for `find --index qdrant://...`; see docs/scaling.md."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.retrieval.open_index import server_address, upload_index

    with CaseIndex.open(folder) as index:
        print(f"{upload_index(index, to)} cases are now in {server_address(to)}.")


@app.command("audit")
def index_audit(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder for audit.html and audit.json.")],
    seed: Annotated[int, typer.Option(help="Of the resampled patients, and of who asks in a large index.")] = 0,
) -> None:
    """Measure how far this index can be trusted: labels told by other patients, scans that are there twice."""
    from TumorRetrievalLib.evaluation.audit import audit_index

    with shown_progress() as progress:
        result = audit_index(folder, out, seed=seed, progress=progress)
    show_scores({label: _scores_of(row) for label, row in result["labels"].items() if row["tumors"]})
    for note in result["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    print(f"Report: {out / 'audit.html'}")


def _scores_of(row: dict) -> dict:
    low, high = row["interval"]
    return {"agrees": row["agrees"], "from": low, "to": high, "most frequent": row["most_frequent"]}


def _conclude(result: dict, json_path: Path | None) -> None:
    """Show what became of the cases; exit code 1 if none could be used."""
    if json_path is not None:
        from TumorRetrievalLib.imaging.atomic import atomic_file

        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show_outcome(result)
    if result["problems"] and not (result.get("cases") or result.get("added") or result["already"]):
        raise typer.Exit(1)
