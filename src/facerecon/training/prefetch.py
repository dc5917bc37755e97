"""Batches prepared ahead of use by one background thread."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_POLL_SECONDS = 0.2


@contextmanager
def prefetched(make: Callable[[int], Any], first: int, end: int, depth: int) -> Iterator[Iterator[Any]]:
    """Yield an iterator over make(first), ..., make(end - 1), computed up to `depth` ahead; 0 computes them in place.

    An exception of `make` is raised where its batch would have come. Leaving the context stops the thread.
    """
    if depth == 0:
        yield (make(step) for step in range(first, end))
        return
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stopping, started = threading.Event(), threading.Event()
    worker = threading.Thread(
        target=_work, args=(make, range(first, end), ready, stopping, started), name="prefetch", daemon=True
    )
    threads = torch.get_num_threads()
    worker.start()
    started.wait()
    torch.set_num_threads(threads)
    try:
        yield _taken(ready, end - first)
    finally:
        stopping.set()
        worker.join()


def _work(
    make: Callable[[int], Any], steps: range, ready: queue.Queue, stopping: threading.Event, started: threading.Event
) -> None:
    # Torch keeps a pool of threads for each calling thread: with one here, the training thread keeps its cores.
    torch.set_num_threads(1)
    started.set()
    for step in steps:
        try:
            item = (make(step), None)
        except BaseException as error:  # handed to the consumer, which raises it
            item = (None, error)
        while not stopping.is_set():
            try:
                ready.put(item, timeout=_POLL_SECONDS)
                break
            except queue.Full:
                continue
        if stopping.is_set() or item[1] is not None:
            return


def _taken(ready: queue.Queue, count: int) -> Iterator[Any]:
    for _ in range(count):
        batch, error = ready.get()
        if error is not None:
            raise error
        yield batch
