"""Forward mode: the shadows of inputs, the tangents, are read and not changed; that of the output is overwritten."""

import numpy as np
import ways

from blasad import Const, Duplicated, Forward, autodiff


def show(run: ways.Run) -> None:
    rng = np.random.default_rng(382)
    A, B = ways.rand(3, 3, rng), ways.rand(3, 3, rng)
    R = np.zeros((3, 3), order="F")
    dA, dB = ways.rand(3, 3, rng), ways.rand(3, 3, rng)
    dR = np.full((3, 3), np.nan, order="F")  # β = 0: what was there is not read
    dA_copy, dB_copy = dA.copy(order="F"), dB.copy(order="F")

    autodiff(Forward, run.mul, Const, Duplicated(R, dR), Duplicated(A, dA), Duplicated(B, dB))

    run.expect("∂A == ∂A_copy && ∂B == ∂B_copy", np.array_equal(dA, dA_copy) and np.array_equal(dB, dB_copy))
    run.expect("R ≈ A * B && ∂R ≈ ∂A * B + A * ∂B", ways.close(R, A @ B) and ways.close(dR, dA @ B + A @ dB))


if __name__ == "__main__":
    ways.main(show)
