"""The cases of tests/cases that cannot pass yet, and what each waits for. The one place that says so.

An entry goes when what it names is there: `test_cases.py` fails for an entry whose case passes, whose routine exists,
or that leaves out a routine which does not.
"""

from typing import NamedTuple


class Wait(NamedTuple):
    routines: str = ""  # of the case's own calls, those that have no entry
    features: str = ""

    def __str__(self) -> str:
        parts = [f"routines {self.routines}"] * bool(self.routines) + [self.features] * bool(self.features)
        return "; ".join(parts)


RETURNED = "derivatives of returned numbers"
INTERCEPTION = "interception of other people's calls"

WAITING = {
    "complex_returned_by_value": Wait("zdotc"),
    "declared_assignment": Wait("dgemv"),
    "dotc_into_memory": Wait("cdotc_sub"),
    "gram_of_vectors": Wait("dcopy daxpy dsyrk"),
    "increment_zero_input": Wait("saxpy"),
    "lu_packed_solves": Wait("dtrsv"),
    "negative_increments": Wait("dgemv"),
    "nested_gemv": Wait("dgemv ddot", f"second order, {RETURNED}"),
    "norm_of_zero": Wait("dnrm2", RETURNED),
    "norm_tangent": Wait("dnrm2", RETURNED),
    "numpy_gram_mirror": Wait("dsyrk", INTERCEPTION),
    "pointer_taken_before": Wait(features=INTERCEPTION),
    "strided_rows": Wait("dger"),
    "symm_other_triangle_nan": Wait("dsymm"),
    "trace_of_gram": Wait("dsyrk"),
    "unit_diagonal_tangent": Wait("dtrsm ddot", RETURNED),
    "unit_trmm_in_place": Wait("dtrmm"),
    "value_overwritten_later": Wait("sgemv sscal"),
    "workspace_cleared_in_loop": Wait("dcopy daxpy"),
    "zero_input": Wait("dgemv ddot", RETURNED),
}
