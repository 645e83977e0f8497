"""gemm!('N', 'N', 1.0, A, B, 0.0, R) on 1 x 1 matrices with the seed 0.8: no shape is too small to consume it."""

import numpy as np
import ways

from blasad import Const, Duplicated, Reverse, autodiff, shadow


def show(run: ways.Run) -> None:
    rng = np.random.default_rng(382)
    A, B = ways.rand(1, 1, rng), ways.rand(1, 1, rng)
    R = np.zeros((1, 1), order="F")
    dR = np.array([[0.8]])
    dA, dB = shadow(A), shadow(B)

    autodiff(Reverse, run.mul, Const, Duplicated(R, dR), Duplicated(A, dA), Duplicated(B, dB))

    print(f"  ∂z_∂R = {dR}")
    run.expect("∂z_∂R == [0.0;;]", dR[0, 0] == 0)
    run.expect(
        "R ≈ A * B && ∂z_∂A ≈ 0.8 * B' && ∂z_∂B ≈ A' * 0.8",
        ways.close(R, A * B) and ways.close(dA, 0.8 * B) and ways.close(dB, A * 0.8),
    )


if __name__ == "__main__":
    ways.main(show)
