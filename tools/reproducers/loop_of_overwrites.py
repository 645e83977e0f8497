"""for i in 1:10 R = A * B: only the last store matters, so the gradient comes once and not ten times."""

import numpy as np
import ways

from blasad import Const, Duplicated, Reverse, autodiff, shadow


def show(run: ways.Run) -> None:
    rng = np.random.default_rng(382)
    A, B = ways.rand(3, 3, rng), ways.rand(3, 3, rng)
    R = np.zeros((3, 3), order="F")
    dR = ways.rand(3, 3, rng)
    dR_copy = dR.copy(order="F")
    dA, dB = shadow(A), shadow(B)

    def loop(R: ways.Array, A: ways.Array, B: ways.Array) -> None:
        for _ in range(10):
            run.mul(R, A, B)

    autodiff(Reverse, loop, Const, Duplicated(R, dR), Duplicated(A, dA), Duplicated(B, dB))

    run.expect("∂z_∂R ≈ zero(R)", ways.close(dR, 0 * R))
    run.expect("∂z_∂A ≈ 10 * ∂z_∂R_copy * B'", ways.close(dA, 10 * dR_copy @ B.T), False)
    run.expect(
        "R ≈ A * B && ∂z_∂A ≈ ∂z_∂R_copy * B' && ∂z_∂B ≈ A' * ∂z_∂R_copy",
        ways.close(R, A @ B) and ways.close(dA, dR_copy @ B.T) and ways.close(dB, A.T @ dR_copy),
    )


if __name__ == "__main__":
    ways.main(show)
