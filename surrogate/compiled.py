"""Compiled loops: kept on disk once compiled, and spread over threads, since they run without the interpreter's lock."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from numba import njit

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
    """`work` of every item, in their order, on as many threads as torch uses. It must leave torch's own threads alone.

    Threads end with the call: a process may be forked before or after.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
