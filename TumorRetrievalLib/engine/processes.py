"""Work on many items in several processes, each of which may load the network."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from TumorRetrievalLib.errors import TumorRetrievalError

T, R = TypeVar("T"), TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """The results of `work` on each item, as they come. Whoever stops asking waits only for what is being worked on.

    :param work: can be sent to another process.
    :raises TumorRetrievalError: if a process was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(list(items)))
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            running = {pool.submit(work, waiting.pop()) for _ in range(min(workers, len(waiting)))}
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    if waiting:
                        running.add(pool.submit(work, waiting.pop()))
                    yield future.result()
    except BrokenProcessPool:
        raise TumorRetrievalError(
            "A process was ended, perhaps for want of memory. What was finished is kept: start again, with fewer "
            "workers."
        ) from None


def _one_thread() -> None:
    import faiss  # noqa: F401 (before torch: their OpenMP runtimes agree only in this order)
    import torch

    torch.set_num_threads(1)
