"""What derivatives must be, found without blasad's rules and without BLAS.

Central differences of one call on memory (`Linear`), and whole programs as the product of those (`Program`); tracing.py
is another way, which shares nothing with this but `primal.py`. Memory is a dict of one-dimensional arrays, calls are steps as in the cases, read by
`primal.py`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CASES = Path(__file__).with_name("cases")
sys.path.append(str(CASES))
import primal  # noqa: E402
from primal import COMPLEX, REAL, Call, Refused, View  # noqa: E402


def _stored(norm: Any) -> Any:
    """A norm whose number goes where the call says, as that of dot does."""

    def run(c: Call) -> Any:
        value = norm(c)
        if "dot" in c.args:
            View(c, "dot", np.array([c.place("dot")[1]])).set(value)
        return value

    return run


ROUTINES = primal.ROUTINES | {f: _stored(primal.ROUTINES[f]) for f in ("nrm2", "asum")}
SCALARS = ("alpha", "beta", "c", "s", "sb")  # "c" of most calls is a place, and no number
Memory = dict[str, np.ndarray]
Step = dict[str, Any]

# The arguments of the routines that have an oracle. Not read from the table that the library is made from.
ARGUMENTS = {
    "swap": "n x incx y incy",
    "scal": "n alpha x incx",
    "copy": "n x incx y incy",
    "rscal": "n alpha x incx",
    "axpy": "n alpha x incx y incy",
    "axpby": "n alpha x incx beta y incy",
    "rot": "n x incx y incy c s",
    "rotm": "n x incx y incy param",
    "rotg": "a b c s",
    "rotmg": "d1 d2 x1 y1 param",
    "wdot": "n x incx y incy dot",
    "sbdot": "n sb x incx y incy dot",
    "dot": "n x incx y incy dot",  # `dot` is where the number goes that is returned, or stored
    "dotu": "n x incx y incy dot",
    "dotc": "n x incx y incy dot",
    "nrm2": "n x incx dot",
    "asum": "n x incx dot",
    "amax": "n x incx",
    "amin": "n x incx",
    "gemv": "trans m n alpha a lda x incx beta y incy",
    "gbmv": "trans m n kl ku alpha a lda x incx beta y incy",
    "ger": "m n alpha x incx y incy a lda",
    "geru": "m n alpha x incx y incy a lda",
    "gerc": "m n alpha x incx y incy a lda",
    "symv": "uplo n alpha a lda x incx beta y incy",
    "sbmv": "uplo n k alpha a lda x incx beta y incy",
    "spmv": "uplo n alpha ap x incx beta y incy",
    "hemv": "uplo n alpha a lda x incx beta y incy",
    "hbmv": "uplo n k alpha a lda x incx beta y incy",
    "hpmv": "uplo n alpha ap x incx beta y incy",
    "syr": "uplo n alpha x incx a lda",
    "syr2": "uplo n alpha x incx y incy a lda",
    "her": "uplo n alpha x incx a lda",
    "her2": "uplo n alpha x incx y incy a lda",
    "spr": "uplo n alpha x incx ap",
    "spr2": "uplo n alpha x incx y incy ap",
    "hpr": "uplo n alpha x incx ap",
    "hpr2": "uplo n alpha x incx y incy ap",
    "trmv": "uplo trans diag n a lda x incx",
    "trsv": "uplo trans diag n a lda x incx",
    "tbmv": "uplo trans diag n k a lda x incx",
    "tpmv": "uplo trans diag n ap x incx",
    "tbsv": "uplo trans diag n k a lda x incx",
    "tpsv": "uplo trans diag n ap x incx",
    "gemm": "transa transb m n k alpha a lda b ldb beta c ldc",
    "gemmt": "uplo transa transb n k alpha a lda b ldb beta c ldc",
    "symm": "side uplo m n alpha a lda b ldb beta c ldc",
    "hemm": "side uplo m n alpha a lda b ldb beta c ldc",
    "syrk": "uplo trans n k alpha a lda beta c ldc",
    "syr2k": "uplo trans n k alpha a lda b ldb beta c ldc",
    "herk": "uplo trans n k alpha a lda beta c ldc",
    "her2k": "uplo trans n k alpha a lda b ldb beta c ldc",
    "trmm": "side uplo transa diag m n alpha a lda b ldb",
    "trsm": "side uplo transa diag m n alpha a lda b ldb",
}


def extended(memory: Memory) -> Memory:
    return {name: x.astype(COMPLEX if np.iscomplexobj(x) else REAL) for name, x in memory.items()}


def moduli(memory: Memory) -> Memory:
    """Memory whose calls bound, element by element, how large the terms in the sums of the real calls are."""
    with np.errstate(invalid="ignore"):
        return {name: np.nan_to_num(np.abs(x).astype(REAL), nan=0, posinf=0) for name, x in memory.items()}


def modulus(step: Step) -> Step:
    """The same call on such memory: no sign and no conjugation, so that nothing cancels."""
    flags = {k: v.upper().replace("C", "T") for k, v in step.items() if k.startswith("trans")}
    scalars = {k: float(abs(complex(v))) for k in SCALARS if k in step and not is_place(v := step[k])}
    return {**step, **flags, **scalars, "minus": 1}


def is_place(value: object) -> bool:
    """Whether a scalar is passed as the address of a buffer's element, and not as a number."""
    if not isinstance(value, str):
        return False
    try:
        complex(value)
    except ValueError:
        return True
    return False


# ---------------------------------------------------------------- what a gemm touches


class Gemm:
    """C <- alpha op(A) op(B) + beta C at given memory: which elements its operands are."""

    def __init__(self, step: Step, memory: Memory) -> None:
        assert step["call"].endswith("gemm")
        call = Call(step, memory)
        ta, tb = call.flag("transa"), call.flag("transb")
        self.m, self.n, self.k = call["m"], call["n"], call["k"]
        m, n, k = self.m, self.n, self.k
        self.alpha, self.beta = call.scalar("alpha"), call.scalar("beta")
        shapes = {"a": (m, k) if ta == "N" else (k, m), "b": (k, n) if tb == "N" else (n, k), "c": (m, n)}
        self.at = {key: (call.place(key)[0], call.matrix(key, *shape).index) for key, shape in shapes.items()}
        for key in ("alpha", "beta"):
            if is_place(step[key]):
                name, index = call.place(key)
                self.at[key] = (name, np.array([index]))


class Access:
    """What a gemm accesses and needs, by sections 1, 4 and 6 of the contract, in elements.

    `active` are the names of buffers with a shadow. `given`: scalars by address that the result depends on; `reads`, `needs` by argument; `writes`: what it stores to;
    `result`: whose derivative it changes, which active scalars do also where their values make it return early.
    """

    def __init__(self, step: Step, memory: Memory, active: set[str]) -> None:
        g = Gemm(step, memory)
        cells = {key: {(name, i) for i in index.ravel().tolist()} for key, (name, index) in g.at.items()}
        some = g.m > 0 and g.n > 0
        self.given = {s for s in ("alpha", "beta") if s in g.at and some and (s == "beta" or g.k > 0)}
        scalars = {s for s in self.given if g.at[s][0] in active}
        product = some and g.k > 0 and (g.alpha != 0 or "alpha" in scalars)
        early = not some or ((g.k == 0 or g.alpha == 0) and g.beta == 1)
        keys = {"a", "b"} if product else set()
        if (not early and g.beta != 0) or "beta" in scalars or (scalars and g.beta != 0):
            keys.add("c")
        self.reads = {key: cells[key] for key in keys}
        self.scalars = {s: cells[s] for s in scalars}
        self.writes = set() if early else cells["c"]
        self.result = cells["c"] if not early or scalars else set()
        self.touches = set().union(self.result, *self.reads.values(), *self.scalars.values())
        with_shadow = {key for key, elements in self.reads.items() if elements & _of(active, elements)}
        self.active = bool(with_shadow or scalars)
        self.needs = {}
        if product and ("alpha" in scalars or (g.alpha != 0 and "b" in with_shadow)):
            self.needs["a"] = cells["a"]
        if product and ("alpha" in scalars or (g.alpha != 0 and "a" in with_shadow)):
            self.needs["b"] = cells["b"]
        if "beta" in scalars:
            self.needs["c"] = cells["c"]
        self.cells, self.place = cells, g.at

    def error(self, active: set[str], constant: set[str]) -> str | None:
        """The error class that the call deserves: section 5, then section 1. What is neither is undeclared."""
        inputs = set().union(*(self.reads.get(key, set()) for key in "ab"))
        scalars = {e for s in self.given for e in self.cells[s] if e[0] in active | constant}
        if self.touches & _of(active, self.touches) and self.result & (inputs | scalars):
            return "AliasError"
        if self.active and _of(constant, self.result):
            return "ActivityError"
        return None


def _of(names: set[str], elements: set[tuple[str, int]]) -> set[tuple[str, int]]:
    return {e for e in elements if e[0] in names}


# ---------------------------------------------------------------- one call on memory, by differences


def _pieces(x: np.ndarray) -> Iterator[complex]:
    yield REAL(1)
    if np.iscomplexobj(x):
        yield 1j


# (-f(2) + 8 f(1) - 8 f(-1) + f(-2)) / 12 is f'(0) for every polynomial of degree 4, whatever the step; a BLAS call is
# one of degree 3 at most in any element of memory.
NODES = {1: 8, -1: -8, 2: -1, -2: 1}


class Linear:
    """A call, executed on `memory`, with the Jacobian of what it wrote by what it read, as pairs of reals."""

    def __init__(self, step: Step, memory: Memory) -> None:
        before = {n: x.copy() for n, x in memory.items()}
        call = Call(step, memory)
        ROUTINES[call.family](call)
        self.call = call
        self.reads = sorted(set().union(*call.reads.values()))
        self.writes = sorted(set().union(*call.writes.values()))
        probe = dict(before)
        # An active scalar that is 0 or 1 now makes the call skip what it would read or write at its neighbours.
        for key in ("alpha", "beta"):
            if is_place(step.get(key)):
                name, index = call.place(key)
                probe[name] = probe[name].copy()
                probe[name][index] = 0.7
        if probe.keys() and any(is_place(step.get(key)) for key in ("alpha", "beta")):
            nearby = Call(step, {n: x.copy() for n, x in probe.items()})
            ROUTINES[nearby.family](nearby)
            self.reads = sorted(set(self.reads).union(*nearby.reads.values()))
            self.writes = sorted(set(self.writes).union(*nearby.writes.values()))
        columns = []
        for name, index in self.reads:
            for piece in _pieces(before[name]):
                column = 0
                for at, weight in NODES.items():
                    moved = {n: x.copy() for n, x in before.items()}
                    moved[name][index] += at * piece
                    moved_call = Call(step, moved)
                    ROUTINES[moved_call.family](moved_call)
                    column = column + weight * self._out(moved)
                columns.append(column / REAL(12))  # last, so that numbers of few digits stay exact
        size = self._out(before).size
        self.jacobian = np.array(columns, REAL).reshape(len(columns), size).T

    def _out(self, memory: Memory) -> np.ndarray:
        return gather(memory, self.writes)

    def pull(self, shadows: Memory) -> None:
        """The transposed Jacobian of memory before -> memory after, applied to shadows in place."""
        given = _times(self.jacobian.T, gather(shadows, self.writes))
        for name, index in self.writes:
            shadows[name][index] = 0
        scatter(shadows, self.reads, gather(shadows, self.reads) + given)

    def push(self, tangents: Memory) -> None:
        scatter(tangents, self.writes, _times(self.jacobian, gather(tangents, self.reads)))


def gather(memory: Memory, elements: list[tuple[str, int]]) -> np.ndarray:
    """Elements as one vector of reals."""
    parts = [memory[n][i : i + 1] for n, i in elements]
    return np.concatenate([p.view(REAL) for p in parts]) if parts else np.zeros(0, REAL)


def scatter(memory: Memory, elements: list[tuple[str, int]], values: np.ndarray) -> None:
    at = 0
    for n, i in elements:
        cell = memory[n][i : i + 1].view(REAL)
        cell[:] = values[at : at + cell.size]
        at += cell.size


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """matrix @ vector in which 0 times anything is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(matrix == 0, 0, matrix * vector).sum(axis=1)


# ---------------------------------------------------------------- whole programs


class Program:
    """A program on memory, its derivative, and the size of the terms that it is summed from."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.bound = extended(memory), moduli(memory)
        self.steps: list[tuple[Linear, Linear]] = []

    def call(self, step: Step) -> Linear:
        pair = Linear(step, self.memory), Linear(modulus(step), self.bound)
        self.steps.append(pair)
        return pair[0]

    def write(self, name: str, values: np.ndarray) -> None:
        """What the program stores into undeclared memory."""
        self.memory[name][:] = values
        self.bound[name][:] = np.abs(values)

    def shadows(self, before: Memory, mode: str, active: set[str]) -> tuple[Memory, Memory]:
        """Shadows after, and the bound of their terms; zero for what has no shadow."""
        out, bound = extended(before), moduli(before)
        for n in self.memory.keys() - before.keys():
            out[n], bound[n] = np.zeros_like(self.memory[n]), np.zeros_like(self.bound[n])
        for exact, coarse in self.steps if mode == "forward" else reversed(self.steps):
            for linear, shadows in ((exact, out), (coarse, bound)):
                (linear.push if mode == "forward" else linear.pull)(shadows)
                for n in self.memory.keys() - active:
                    shadows[n][:] = 0
        return out, bound


# ---------------------------------------------------------------- comparing


def assert_close(got: np.ndarray, want: np.ndarray, bound: np.ndarray, terms: int, what: str) -> None:
    """Equal to rounding: `terms` operations on numbers whose moduli sum to `bound`. 0, NaN and Inf are exact."""
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = want.astype(got.dtype)
        error = np.abs(got.astype(want.dtype) - want)
        allowed = (terms + 2) * np.finfo(got.dtype).eps * bound
        good = (error <= allowed) | (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        good &= (want != 0) | (bound != 0) | (got == 0)
    bad = np.flatnonzero(~good)
    assert not bad.size, (
        f"{what}: elements {bad.tolist()} are {got[bad].tolist()}, not {rounded[bad].tolist()}, "
        f"give or take {allowed[bad].tolist()}"
    )


__all__ = ["ARGUMENTS", "CASES", "REAL", "ROUTINES", "Call", "Refused"]
