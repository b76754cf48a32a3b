"""The compiled part of a merge: theta_0 + (c_1 v_1 + c_2 v_2 + ...) in one pass over memory, in float64, rounded once.

A tensor library passes over memory once for every sign of the formula; here each tile of it is widened, summed and rounded while it
lies in a core's first cache, without the interpreter's lock. Sums run in the order of the formula and no multiplication is fused
with an addition, so every processor gives the same bits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic, register_jitable

FLOAT64, FLOAT32, BFLOAT16, FLOAT16 = range(4)
_TILE = 1024  # elements: two tiles of float64 fit into the first cache beside the rows they are read from


def _kept(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles at import; what was compiled once is kept on disk, where there is a place that can be written."""

    def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any]
        try:
            compiled = njit(*signature, nogil=True, error_model="numpy", cache=True)(function)
        except RuntimeError:  # there is no such place
            compiled = njit(*signature, nogil=True, error_model="numpy")(function)
        return compiled

    return compile_function


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@intrinsic
def _single(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@intrinsic
def _bits(typing: Any, single: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), generate


@register_jitable
def _read(address: int, kind: int, start: int, length: int, out: Any) -> None:
    """Elements [start, start + length) of a row, widened into `out`."""
    if kind == BFLOAT16:
        halves = carray(_pointer(address + 2 * start), length, np.uint16)
        for i in range(length):
            out[i] = _single(np.uint32(np.uint32(halves[i]) << np.uint32(16)))
    elif kind == FLOAT32:
        singles = carray(_pointer(address + 4 * start), length, np.float32)
        for i in range(length):
            out[i] = singles[i]
    elif kind == FLOAT16:
        halves = carray(_pointer(address + 2 * start), length, np.uint16)
        for i in range(length):
            out[i] = _half(halves[i])
    else:
        doubles = carray(_pointer(address + 8 * start), length, np.float64)
        for i in range(length):
            out[i] = doubles[i]


@register_jitable
def _half(bits: np.uint16) -> Any:
    """A float16 as float32. Shifted into place its exponent is 112 too small, for the smallest ones too: one product mends it."""
    magnitude = np.uint32(np.uint32(bits & np.uint16(0x7FFF)) << np.uint32(13))
    scaled = _bits(np.float32(_single(magnitude) * np.float32(2.0**112)))
    if magnitude >= np.uint32(0x0F800000):
        scaled = np.uint32(scaled | np.uint32(0x7F800000))
    return _single(np.uint32(scaled | np.uint32(np.uint32(bits & np.uint16(0x8000)) << np.uint32(16))))


@register_jitable
def _to_bfloat16(bits: np.uint32) -> np.uint32:
    """A finite float32 rounded to the nearest bfloat16, ties to even, in the upper half."""
    odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd)


@register_jitable
def _to_float16(magnitude: np.uint32) -> np.uint32:
    """A float32 without its sign rounded to the nearest float16, ties to even, through the range of its smallest numbers."""
    # the spacing of float32 at one half is that of the smallest float16: the addition rounds
    small = np.uint32(_bits(np.float32(_single(magnitude) + np.float32(0.5))) - np.uint32(0x3F000000))
    odd = np.uint32(np.uint32(magnitude >> np.uint32(13)) & np.uint32(1))
    normal = np.uint32(np.uint32(np.uint32(magnitude - np.uint32(0x37FFF001)) + odd) >> np.uint32(13))
    return small if magnitude < np.uint32(0x38800000) else min(normal, np.uint32(0x7C00))


@register_jitable
def _stray(bits: np.uint32) -> np.uint32:
    """The sign bit is set where a float32 of these bits is NaN or infinite: its exponent is all ones."""
    return np.uint32(np.uint32(bits & np.uint32(0x7F800000)) + np.uint32(0x00800000))


@register_jitable
def _write(total: Any, length: int, address: int, kind: int, start: int) -> bool:
    """Rounds a tile into its place in the result; whether all of it is finite."""
    strays = np.uint32(0)
    if kind == BFLOAT16:
        halves = carray(_pointer(address + 2 * start), length, np.uint16)
        for i in range(length):
            bits = _bits(np.float32(total[i]))
            rounded = _to_bfloat16(bits)
            strays = np.uint32(strays | np.uint32(_stray(bits) | _stray(rounded)))
            halves[i] = np.uint16(np.uint32(rounded >> np.uint32(16)))
    elif kind == FLOAT32:
        singles = carray(_pointer(address + 4 * start), length, np.float32)
        for i in range(length):
            singles[i] = np.float32(total[i])
            strays = np.uint32(strays | _stray(_bits(np.float32(total[i]))))
    elif kind == FLOAT16:
        halves = carray(_pointer(address + 2 * start), length, np.uint16)
        for i in range(length):
            bits = _bits(np.float32(total[i]))
            rounded = _to_float16(np.uint32(bits & np.uint32(0x7FFFFFFF)))
            strays = np.uint32(strays | np.uint32(_stray(bits) | np.uint32(np.uint32(rounded + np.uint32(0x0400)) << np.uint32(16))))
            halves[i] = np.uint16(np.uint32(rounded | np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(0x8000))))
    else:
        doubles = carray(_pointer(address + 8 * start), length, np.float64)
        for i in range(length):
            doubles[i] = total[i]
            strays = np.uint32(strays | (np.uint32(0) if np.isfinite(total[i]) else np.uint32(0x80000000)))
    return bool(strays < np.uint32(0x80000000))


@_kept("boolean(int64[::1], int64[::1], float64[::1], boolean[::1], int64)")
def write_rows(addresses: Any, kinds: Any, coefficients: Any, whole: Any, length: int) -> bool:
    """Writes the sum of `length` elements to the last address; whether all of them are finite.

    `addresses`, `kinds`: of theta_0, the rows that are added to it, and the result; where they begin in memory, and what they hold
    (FLOAT64 ...). `coefficients`, `whole`: one a row; a whole row is theta_n, another one v_n. Nothing is checked here.
    """
    rows = len(coefficients)
    base, row, total = np.empty(_TILE), np.empty(_TILE), np.empty(_TILE)
    finite = True
    for start in range(0, length, _TILE):
        count = min(_TILE, length - start)
        _read(addresses[0], kinds[0], start, count, base)
        total[:] = 0.0
        for number in range(rows):
            _read(addresses[number + 1], kinds[number + 1], start, count, row)
            scale = coefficients[number]
            if whole[number]:
                for i in range(count):
                    total[i] += scale * (row[i] - base[i])
            else:
                for i in range(count):
                    total[i] += scale * row[i]
        for i in range(count):
            total[i] += base[i]
        finite &= _write(total, count, addresses[rows + 1], kinds[rows + 1], start)
    return finite
