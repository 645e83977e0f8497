"""dgemm_ called with addresses, by a function whose B = 2.0 is a local that is dead when the adjoint needs its value.

The local is a page of its own. It is overwritten and unmapped before the replay, so that looking there for the value
finds nothing, or ends the process.
"""

import ctypes
import mmap
import warnings

import numpy as np
import ways

from blasad import ActivityWarning, Const, Duplicated, Reverse, autodiff, shadow


def show(run: ways.Run) -> None:
    def mul(C: int, A: int, B: int, m: int) -> None:
        page = mmap.mmap(-1, mmap.PAGESIZE)
        local = ctypes.c_double.from_buffer(page)
        local.value = 2.0
        run.gemm(b"N", b"N", m, 1, 1, 1.0, A, 1, ctypes.addressof(local), 1, 0.0, C, 1)
        local.value = -1e300
        del local
        page.close()

    rng = np.random.default_rng(382)
    A, B = ways.rand(1, 1, rng), ways.rand(1, 1, rng)
    R = np.zeros((1, 1), order="F")
    dR = np.array([[0.8]])
    dA, dB = shadow(A), shadow(B)

    def pair(x: ways.Array, dx: ways.Array) -> Duplicated:
        return Duplicated(x.ctypes.data, dx.ctypes.data, count=1, dtype=np.float64)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ActivityWarning)
        autodiff(Reverse, mul, Const, pair(R, dR), pair(A, dA), pair(B, dB), Const(1))

    print(f"  ∂z_∂R = {dR}, ∂z_∂A = {dA}, ∂z_∂B = {dB}")
    run.expect("R ≈ A * 2.0", ways.close(R, A * 2.0))
    run.expect("∂z_∂R == [0.0;;]", dR[0, 0] == 0)
    run.expect("∂z_∂A ≈ [1.6;;]", ways.close(dA, 1.6))
    run.expect("∂z_∂B == [0.0;;]", dB[0, 0] == 0)
    run.expect("a warning: operand b was taken for constant", len(said) == 1 and "operand b" in str(said[0].message))


if __name__ == "__main__":
    ways.main(show)
