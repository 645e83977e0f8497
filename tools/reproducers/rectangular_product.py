"""The product of a 7 x 3 and a 3 x 5 matrix: the seed is consumed, as it is for every shape.

A reverse pass that leaves the seed as it was worked on a copy of it somewhere; the gradients are right, and a second
use of R would be counted twice.
"""

import numpy as np
import ways

from blasad import Const, Duplicated, Reverse, autodiff, shadow


def show(run: ways.Run) -> None:
    rng = np.random.default_rng(382)
    A, B = ways.rand(7, 3, rng), ways.rand(3, 5, rng)
    R = np.zeros((7, 5), order="F")
    dR = ways.rand(7, 5, rng)
    dR_copy = dR.copy(order="F")
    dA, dB = shadow(A), shadow(B)

    autodiff(Reverse, run.mul, Const, Duplicated(R, dR), Duplicated(A, dA), Duplicated(B, dB))

    run.expect("∂z_∂R ≈ ∂z_∂R_copy", ways.close(dR, dR_copy), False)
    run.expect("∂z_∂R ≈ zero(R)", ways.close(dR, 0 * R))
    run.expect(
        "R ≈ A * B && ∂z_∂A ≈ ∂z_∂R_copy * B' && ∂z_∂B ≈ A' * ∂z_∂R_copy",
        ways.close(R, A @ B) and ways.close(dA, dR_copy @ B.T) and ways.close(dB, A.T @ dR_copy),
    )


if __name__ == "__main__":
    ways.main(show)
