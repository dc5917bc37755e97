"""Running compiled loops over a batch of images on as many threads as torch may use."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


def run_over_batch(kernel: Callable[..., None], batch_size: int, *arguments: Any) -> None:
    """Call `kernel(first, last, *arguments)` on consecutive ranges [first, last) that together cover the batch.

    kernel: a numba function compiled with nogil=True that writes only the rows of its own range; one range an image
        and thread, so the result does not depend on the number of threads.
    With torch.get_num_threads() == 1, or one image, it is a plain call. Python threads are used rather than numba's
    parallel loops: numba's default threading layer must not be entered from two threads at once, as happens when
    batches are prepared in the background.
    """
    threads = min(torch.get_num_threads(), batch_size)
    if threads <= 1:
        kernel(0, batch_size, *arguments)
        return
    bounds = [batch_size * part // threads for part in range(threads + 1)]
    pool = _thread_pool(os.getpid(), threads)
    # The calling thread takes the first range itself.
    pending = [pool.submit(kernel, bounds[i], bounds[i + 1], *arguments) for i in range(1, threads)]
    kernel(bounds[0], bounds[1], *arguments)
    for future in pending:
        future.result()


@lru_cache(maxsize=2)
def _thread_pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One pool a process and size: threads do not survive a fork, so a pool of the parent process is never used."""
    return ThreadPoolExecutor(max_workers=threads - 1, thread_name_prefix=f"facerecon-{process}")
