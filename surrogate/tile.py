"""Matrix products inside compiled loops: a tile of the result is summed in registers, so that what follows finds it in the first cache.

A library's product writes all of the result to memory, and starts threads of its own even where the factors are small.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

# A tile takes 12 of the 16 registers that every processor of the last decade has; two hold the row of the panel.
ROWS, VECTORS, VECTOR_BYTES = 6, 2, 32
SINGLES = VECTORS * VECTOR_BYTES // 4
DOUBLES = VECTORS * VECTOR_BYTES // 8


@intrinsic
def multiply_tile(typing: Any, rows: Any, group: Any, panel: Any, depth: Any, out: Any) -> Any:
    """out[r, l] = sum over k < depth of rows[group, k, r] * panel[k, l]: ROWS rows, SINGLES columns of float32 or DOUBLES of float64.

    All arrays are C-contiguous and of one type. Nothing is checked here.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second, third = (context.make_array(signature.args[place])(context, builder, arguments[place]).data for place in (0, 2, 4))
        _generate_tile(builder, first, second, third, arguments[1], arguments[3])
        return context.get_dummy_value()

    return types.void(rows, types.int64, panel, types.int64, out), generate


def _generate_tile(builder: Any, rows: Any, panel: Any, out: Any, group: Any, depth: Any) -> None:
    element, index = rows.type.pointee, ir.IntType(64)
    lanes = VECTOR_BYTES // (4 if isinstance(element, ir.FloatType) else 8)
    vector = ir.VectorType(element, lanes)
    rows = builder.gep(rows, [builder.mul(group, builder.mul(depth, index(ROWS)))])
    panel, out = builder.bitcast(panel, vector.as_pointer()), builder.bitcast(out, vector.as_pointer())
    name = f"llvm.fma.v{lanes}f{8 * VECTOR_BYTES // lanes}"
    fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    before, loop, after = builder.block, builder.append_basic_block("tile"), builder.append_basic_block("tile.done")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(index)
    sums = [builder.phi(vector) for _ in range(ROWS * VECTORS)]
    columns = [_load(builder, panel, builder.add(builder.mul(step, index(VECTORS)), index(v)), element) for v in range(VECTORS)]
    added = []
    for r in range(ROWS):
        factor = _spread(builder, _load(builder, rows, builder.add(builder.mul(step, index(ROWS)), index(r)), element), vector)
        added += [builder.call(fused, [factor, columns[v], sums[VECTORS * r + v]]) for v in range(VECTORS)]
    following = builder.add(step, index(1))
    step.add_incoming(index(0), before)
    step.add_incoming(following, loop)
    for total, more in zip(sums, added, strict=True):
        total.add_incoming(vector([0.0] * lanes), before)
        total.add_incoming(more, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    builder.position_at_end(after)
    for place, total in enumerate(added):
        builder.store(total, builder.gep(out, [index(place)]), align=_size(element))


def _load(builder: Any, pointer: Any, place: Any, element: Any) -> Any:
    # arrays are aligned to their elements, not to vectors
    return builder.load(builder.gep(pointer, [place]), align=_size(element))


def _size(element: Any) -> int:
    return 4 if isinstance(element, ir.FloatType) else 8


def _spread(builder: Any, scalar: Any, vector: Any) -> Any:
    """A vector with `scalar` in every lane."""
    number, nothing = ir.IntType(32), ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, number(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(number, vector.count), [0] * vector.count))


@register_jitable
def group_rows(matrix: Any, first: int, last: int, out: Any) -> None:
    """Rows [first, last) of `matrix` (n x k) in groups as `multiply_tile` reads them, groups x k x ROWS; zero where there are none."""
    for group in range(out.shape[0]):
        for r in range(ROWS):
            row = first + group * ROWS + r
            for k in range(out.shape[1]):
                out[group, k, r] = matrix[row, k] if row < last else 0.0


@intrinsic
def _stay_whole(typing: Any) -> Any:
    """Keeps the function that calls it from being copied into its callers: one that multiplies often would take long to compile."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@register_jitable
def multiply(a: Any, b: Any, out: Any) -> None:
    """Writes a @ b of float64, n x k and k x m, into `out`."""
    _stay_whole()
    n, depth, m = a.shape[0], a.shape[1], b.shape[1]
    groups = (n + ROWS - 1) // ROWS
    rows, panel, tile = np.empty((groups, depth, ROWS)), np.empty((depth, DOUBLES)), np.empty((ROWS, DOUBLES))
    group_rows(a, 0, n, rows)
    for start in range(0, m, DOUBLES):
        for k in range(depth):
            for lane in range(DOUBLES):
                panel[k, lane] = b[k, start + lane] if start + lane < m else 0.0
        for group in range(groups):
            multiply_tile(rows, group, panel, depth, tile)
            for r in range(min(ROWS, n - group * ROWS)):
                for lane in range(min(DOUBLES, m - start)):
                    out[group * ROWS + r, start + lane] = tile[r, lane]
