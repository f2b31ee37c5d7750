"""Where work on many items is done: on this machine, or on a Dask cluster that somebody has started."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from TumorRetrievalLib.errors import MissingPackage, SchedulerUnreachable

_ANSWER_WITHIN = "10s"


@contextmanager
def cluster_executor(address: str | None) -> Iterator[Executor | None]:
    """An executor whose `submit` works on a cluster, for as long as the block lasts; None without an address.

    :param address: of a Dask scheduler, such as tcp://host:8786. Its workers need this library and its data.
    :raises MissingPackage: if Dask is not installed.
    :raises SchedulerUnreachable: if the scheduler does not answer.
    """
    if address is None:
        yield None
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingPackage("Working on a cluster needs Dask: pip install 'dask[distributed]'.") from error
    try:
        client = Client(address, timeout=_ANSWER_WITHIN)
    except (OSError, ValueError) as error:
        raise SchedulerUnreachable(f"The Dask scheduler {address} does not answer: check its address.") from error
    with client:
        yield client.get_executor()
