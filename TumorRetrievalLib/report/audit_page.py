"""The page about an index: how far to trust what it finds."""

from pathlib import Path

from TumorRetrievalLib.imaging.atomic import atomic_file


def write_audit_page(path: Path, result: dict) -> None:
    """Write the page as one HTML file, whole or not at all.

    :param result: from `evaluation.audit.audit_index`.
    :raises CannotWrite: if the disk is full or the folder cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("TumorRetrievalLib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    html = pages.get_template("audit.html.j2").render(result=result)
    with atomic_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
