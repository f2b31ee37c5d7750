"""Opens a case index wherever it is: in a folder, or, if the address says so, on a Qdrant server.

`qdrant://HOST[:PORT]/COLLECTION` is the only thing that makes this program talk to a network. The connection is
encrypted unless the server is this computer; TUMOR_RETRIEVAL_QDRANT_TLS is `off`, `on`, or a file of certificates to
trust, and TUMOR_RETRIEVAL_QDRANT_API_KEY the key that the server asks for.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.errors import InvalidRequest, MissingPackage
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.qdrant_index import QdrantIndex

API_KEY, TLS = "TUMOR_RETRIEVAL_QDRANT_API_KEY", "TUMOR_RETRIEVAL_QDRANT_TLS"
_PORT = 6333
_HERE = ("localhost", "127.0.0.1")
# One slash is enough: a path has lost the second.
_ADDRESS = re.compile(r"qdrant:/{1,2}(?P<host>[\w.-]+)(:(?P<port>\d{1,5}))?/(?P<collection>[\w.-]+)/?")


@dataclass(frozen=True)
class ServerAddress:
    """Where an index is on a server."""

    host: str
    port: int
    collection: str

    def __str__(self):
        return f"qdrant://{self.host}:{self.port}/{self.collection}"


def server_address(place: Path | str) -> ServerAddress | None:
    """The address that a place names; None if it is a folder.

    :raises InvalidRequest: if it starts like an address and is none.
    """
    text = place.as_posix() if isinstance(place, Path) else place
    if not text.startswith("qdrant:/"):
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"] or _PORT) < 1 << 16:
        raise InvalidRequest(f"{text} is no address of an index: write qdrant://HOST[:PORT]/COLLECTION.")
    return ServerAddress(match["host"], int(match["port"] or _PORT), match["collection"])


def open_index(place: Path | str, expected_model_hash: str | None = None) -> CaseIndex | QdrantIndex:
    """An index, open for reading.

    :param place: a folder, or the address of a server.
    :param expected_model_hash: as in `CaseIndex.open`, and errors likewise; moreover
    :raises InvalidRequest: if the address, or the connection's settings, cannot be used.
    :raises MissingPackage: if it is on a server and the client is not installed.
    :raises IndexUnreachable: if the server does not answer.
    """
    address = server_address(place)
    if address is None:
        return CaseIndex.open(place, expected_model_hash)
    return QdrantIndex.open(connect(address), address.collection, expected_model_hash, folder=str(address))


def upload_index(source: CaseIndex, place: Path | str) -> int:
    """Copy an index to a server, into a new collection; the number of cases.

    :raises CannotWrite: if there is such a collection. Other errors as in `open_index`.
    """
    address = server_address(place)
    if address is None:
        raise InvalidRequest(f"{place} is no server: write qdrant://HOST[:PORT]/COLLECTION.")
    model, name = source.manifest.model_hash, address.collection
    with QdrantIndex.create(connect(address), name, model, source.layout, folder=str(address)) as target:
        return copy_cases(source, target)


def copy_cases(source, target) -> int:
    """Add all cases of one index to another, some at a time; how many."""
    ids = source.case_ids()
    for start in range(0, len(ids), _CASES_AT_ONCE):
        some = ids[start : start + _CASES_AT_ONCE]
        target.add([source.get(case) for case in some], [source.vectors_of(case) for case in some])
    return len(ids)


_CASES_AT_ONCE = 100


def connect(address: ServerAddress):
    """A client of a server.

    :raises MissingPackage: if it is not installed.
    :raises InvalidRequest: if a key would be sent without encryption to another computer.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise MissingPackage("An index on a server needs its client: pip install qdrant-client.") from error
    key = os.environ.get(API_KEY) or None
    tls = os.environ.get(TLS, "off" if address.host in _HERE else "on")
    if tls == "off" and key is not None and address.host not in _HERE:
        raise InvalidRequest(f"{API_KEY} would be sent to {address.host} readable for all: do not set {TLS} to off.")
    options = {} if tls in ("on", "off") else {"verify": tls}
    return QdrantClient(
        host=address.host, port=address.port, https=tls != "off", api_key=key, check_compatibility=False, **options
    )
