"""Compiled loops: kept on disk once compiled, and spread over threads, since they run without the interpreter's lock."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from numba import njit
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Found = TypeVar("Found")


def kept(**options: Any) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """Compiles at the first call; what was compiled once is kept on disk, where there is a place that can be written."""

    def compile_function(function: Callable[..., Found]) -> Callable[..., Found]:
        compiled: Callable[..., Found]
        try:
            compiled = njit(cache=True, **options)(function)
        except RuntimeError:  # there is no such place
            compiled = njit(**options)(function)
        return compiled

    return compile_function


def in_parallel(work: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """`work` of every item, in their order, on as many threads as torch uses; torch then has one in each of them.

    Threads end with the call: a process may be forked before or after.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]

    def work_alone(item: Item) -> Found:
        with single_threaded():
            return work(item)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work_alone, items))


@contextmanager
def single_threaded() -> Iterator[None]:
    """Torch does all that this thread asks of it in this thread alone, meanwhile.

    A team that meets after every small operation waits longer than it works, most of all on a busy machine. torch.set_num_threads would
    also change threads that begin later.
    """
    torch.get_num_threads()  # a thread's first call of torch sets its number, and must not come after ours
    with _libraries().limit(limits=1, user_api="openmp"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that start threads. From the first call on those of numpy and scipy start none: all that they are asked for here is
    small, and L-BFGS spends most of its time on waiting for them otherwise. Their number is one for the whole process, so that to set it
    back would disturb other threads."""
    libraries = ThreadpoolController()
    libraries.limit(limits=1, user_api="blas")
    return libraries
