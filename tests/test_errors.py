"""What is refused, when, and in which words (section 11, and the sections that say what is an error)."""

import contextlib
import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from casebook import in_process
from memory_guard import bits
from roads import CBLAS, FORTRAN, ROADS, Road, gemm, library, place, real_address

import blasad
from blasad import Active, Const, Duplicated, Forward, Reverse, Tape, autodiff, ffi

NARROW = [r for r in ROADS if r.bits == 32]


class Buffers:
    """2x2 matrices and scalars with shadows; what they held can be compared afterwards."""

    def __init__(self, dtype: object = np.float64, names: str = "ABCDs") -> None:
        rng = np.random.default_rng(7)
        self.x = {n: rng.uniform(0.2, 0.9, 4).astype(dtype) for n in names}
        self.dx = {n: rng.uniform(0.2, 0.9, 4).astype(dtype) for n in names}
        self.seeds = {n: x.copy() for n, x in self.dx.items()}

    def annotate(self, tape: Tape, names: str = "ABCDs", const: str = "") -> Tape:
        for n in names:
            tape.duplicated(self.x[n], self.dx[n], name=n)
        for n in const:
            tape.const(self.x[n], name=n)
        return tape

    def gemm(self, c: str, a: str, b: str, **changes: Any) -> None:
        gemm(self.x, c, a, b, **changes)

    def shadows_are_as_they_were(self) -> bool:
        return all(bits(dx) == bits(self.seeds[n]) for n, dx in self.dx.items())


@contextlib.contextmanager
def ends_with(tape: Tape, error: type[Exception], pattern: str) -> Iterator[list[str]]:
    """The block of a tape that runs undisturbed and raises when it is left (11). Yields where the text will be."""
    said: list[str] = []
    tape.__enter__()
    try:
        yield said
    except BaseException:
        tape.__exit__(*sys.exc_info())
        raise
    with pytest.raises(error, match=pattern) as caught:
        tape.__exit__(None, None, None)
    said.append(str(caught.value))


def raises_until_closed(tape: Tape, error: type[Exception], pattern: str) -> str:
    """An error found while recording is raised again whenever the tape is used (11)."""
    for _ in range(2):
        with pytest.raises(error, match=pattern) as caught:
            tape.reverse()
    return str(caught.value)


def found_while_recording(
    body: Callable[[Buffers], None],
    error: type[Exception],
    pattern: str,
    names: str = "ABCDs",
    const: str = "",
    **options: Any,
) -> str:
    """Runs `body` under a tape that has to find an error in it, and checks everything that section 11 says then."""
    alone, recorded = Buffers(), Buffers()
    body(alone)
    tape = Tape(undeclared="constant", **options)
    with ends_with(tape, error, pattern) as said:
        recorded.annotate(tape, names, const)
        body(recorded)
        length = len(tape)
        recorded.gemm("D", "A", "B")  # the tape records nothing after it
        assert len(tape) == length
    alone.gemm("D", "A", "B")
    assert {n: bits(x) for n, x in recorded.x.items()} == {n: bits(x) for n, x in alone.x.items()}
    assert [raises_until_closed(tape, error, pattern)] == said
    assert recorded.shadows_are_as_they_were()

    in_autodiff = Buffers()
    arguments = [Duplicated(in_autodiff.x[n], in_autodiff.dx[n]) for n in names] + [
        Const(in_autodiff.x[n]) for n in const
    ]
    with pytest.raises(error):
        autodiff(Reverse, lambda *_: body(in_autodiff), *arguments, undeclared="constant", **options)
    assert in_autodiff.shadows_are_as_they_were()
    return said[0]


# ---------------------------------------------------------------- arguments, before f runs


X = np.ones((2, 3))
DOUBLES = ffi.new("double[3]", [1.0, 2.0, 3.0])
READ_ONLY = np.zeros((2, 3))
READ_ONLY.flags.writeable = False
MISALIGNED = np.zeros(25, np.uint8)[1:].view(np.float64)
BAD_ARGUMENTS = {
    "NULL of cffi": (lambda: Duplicated(ffi.cast("double *", 0), DOUBLES, count=3), ValueError, "NULL"),
    "NULL of ctypes": (lambda: Const(ctypes.c_void_p(None), nbytes=8), ValueError, "NULL"),
    "NULL as a number": (lambda: Duplicated(0, 8, nbytes=8), ValueError, "NULL"),
    "a NULL shadow": (
        lambda: Duplicated(ffi.cast("double *", DOUBLES), ffi.cast("double *", 0), count=3),
        ValueError,
        "NULL",
    ),
    "pointer without a size": (
        lambda: Duplicated(ffi.cast("double *", DOUBLES), ffi.cast("double *", DOUBLES)),
        ValueError,
        "without a size.*count=.*nbytes=",
    ),
    "ctypes pointer without a size": (
        lambda: Const(ctypes.cast(X.ctypes.data, ctypes.POINTER(ctypes.c_double))),
        ValueError,
        "without a size.*count=.*nbytes=",
    ),
    "address without a size": (lambda: Duplicated(X.ctypes.data, X.ctypes.data), ValueError, "without a size"),
    "untyped pointer with count": (lambda: Const(ctypes.c_void_p(X.ctypes.data), count=3), ValueError, "dtype="),
    "bytes that are no floats": (lambda: Const(X.ctypes.data, nbytes=6), ValueError, "6 bytes"),
    "two sizes": (lambda: Const(X.ctypes.data, count=3, nbytes=24, dtype=float), ValueError, "one of them"),
    "no whole number": (lambda: Const(X.ctypes.data, nbytes=20, dtype=float), ValueError, "no whole number"),
    "negative size": (lambda: Const(X.ctypes.data, count=-1, dtype=float), ValueError, "-1"),
    "array with a size": (lambda: Duplicated(X, X.copy(), count=6), TypeError, "knows its size"),
    "cffi array with a size": (lambda: Const(DOUBLES, count=3), TypeError, "knows its size"),
    "integers": (lambda: Duplicated(np.ones(3, int), np.ones(3, int)), TypeError, r"int64.*float64.*astype"),
    "half precision": (lambda: Duplicated(np.ones(3, np.float16), np.ones(3, np.float16)), TypeError, "float16"),
    "long double": (lambda: Duplicated(np.ones(3, np.longdouble), np.ones(3, np.longdouble)), TypeError, "float64"),
    "other byte order": (lambda: Duplicated(np.ones(3, ">f8"), np.ones(3, ">f8")), TypeError, "dtype >f8"),
    "integers of C": (lambda: Duplicated(ffi.new("int[3]"), ffi.new("int[3]")), TypeError, "int"),
    "integers of ctypes": (lambda: Duplicated((ctypes.c_int * 3)(), (ctypes.c_int * 3)()), TypeError, "c_int"),
    "misaligned": (lambda: Const(MISALIGNED), ValueError, "aligned.*copy"),
    "shadow of another dtype": (lambda: Duplicated(X, X.astype(np.float32)), ValueError, r"dtype.*blasad\.shadow\(x\)"),
    "shadow of another shape": (lambda: Duplicated(X, np.zeros((3, 2))), ValueError, r"shape.*blasad\.shadow\(x\)"),
    "shadow of other strides": (
        lambda: Duplicated(X, np.zeros((2, 3), order="F")),
        ValueError,
        r"strides.*blasad\.shadow\(x\)",
    ),
    "no array for a shadow": (lambda: Duplicated(X, [[0.0] * 3] * 2), TypeError, "list"),
    "read-only shadow": (lambda: Duplicated(X, READ_ONLY), ValueError, r"read-only.*blasad\.shadow\(x\)"),
    "shadow = primal": (lambda: Duplicated(X, X), ValueError, r"shares elements.*blasad\.shadow\(x\)"),
    "stride 0": (lambda: Const(np.broadcast_to(1.0, (2, 3))), ValueError, "stride 0"),
    "sliding windows": (
        lambda: Const(np.lib.stride_tricks.sliding_window_view(X.ravel(), 3)),
        ValueError,
        "overlaps itself",
    ),
    "no annotation": (lambda: X, TypeError, r"Const\(x\).*Duplicated\(x, dx\).*blasad\.shadow\(x\)"),
    "pointer without annotation": (lambda: ffi.cast("double *", DOUBLES), TypeError, r"Const\(x\)"),
    "a class": (lambda: Const, TypeError, r"Const\(x\)"),
}


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_argument(case, mode):
    """Refused before f runs, naming the argument and the way out."""
    make, error, pattern = BAD_ARGUMENTS[case]
    ran = []

    def f(first, wrong):
        ran.append(first)

    a, da = np.ones(2), np.full(2, 0.25)
    with pytest.raises(error, match=rf"(?s)\(wrong\).*{pattern}") as caught:
        autodiff(mode, f, Duplicated(a, da), make())
    assert "argument 2" in str(caught.value)
    assert not ran
    assert da.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("first", "second", "pattern"),
    [
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Duplicated(x, dx.copy()), "another shadow"),
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Const(x), "one annotation"),
        (lambda x, dx: Const(x), lambda x, dx: Duplicated(x, dx), "as constant"),
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Duplicated(x.copy(), dx), "shadow"),
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Duplicated(dx, x), "shadow"),
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Const(dx), "shadow"),
        (lambda x, dx: Duplicated(x, dx), lambda x, dx: Duplicated(np.ones(6), np.broadcast_to(x, 6)), "."),
        (lambda x, dx: Duplicated(x[:4], dx[:4]), lambda x, dx: Duplicated(x[2:], dx[2:]), "another part"),
        (lambda x, dx: Const(x[:4]), lambda x, dx: Const(x[2:]), "shares elements"),
        (lambda x, dx: Duplicated(x[:3], dx[:3]), lambda x, dx: Duplicated(x[3:], dx[1:4]), "shadow"),
        (lambda x, dx: Duplicated(x[:3], x[3:]), lambda x, dx: Const(x[5:]), "shadow"),
        (lambda x, dx: Const(x), lambda x, dx: Duplicated(dx, x), "memory of"),
        (lambda x, dx: Const(x[1:2]), lambda x, dx: Duplicated(dx[::2], x[::2]), None),
        (lambda x, dx: Const(x[2:3]), lambda x, dx: Duplicated(dx[::2], x[::2]), "memory of"),
        (lambda x, dx: Const(x[::2]), lambda x, dx: Const(x[1:4]), "shares elements"),
        (lambda x, dx: Duplicated(x[::2], dx[::2]), lambda x, dx: Duplicated(x[1::2], dx[1::2]), None),
    ],
)
def test_annotations_that_contradict_each_other(first, second, pattern):
    """Section 1: an element has one annotation and one shadow, and shadows are nobody's primal. It is the elements that
    count, not the bytes between them."""
    x, dx = np.ones(6), np.zeros(6)
    if pattern is None:
        assert autodiff(Reverse, lambda a, b: "no contradiction", first(x, dx), second(x, dx)) == "no contradiction"
        return
    with pytest.raises(ValueError, match=pattern):
        autodiff(Reverse, lambda a, b: pytest.fail("f ran"), first(x, dx), second(x, dx))


def test_annotations_that_agree():
    """Section 1: the same pair twice is one annotation; so is a sub-array whose shadow is the same sub-array."""
    x, dx = np.ones(6), np.zeros(6)
    tape = Tape()
    tape.duplicated(x, dx)
    tape.duplicated(x, dx)
    tape.duplicated(x[2:4], dx[2:4])
    tape.duplicated(x[::-1], dx[::-1])
    tape.const(dx[:0])
    other = Tape()
    other.duplicated(x[1:3], dx[1:3])
    other.duplicated(x, dx)  # the whole after its part
    other.duplicated(x[::2], dx[::2])
    third = Tape()  # another tape may see it otherwise
    third.const(x)
    third.const(x[::2])


def test_arguments_of_autodiff():
    with pytest.raises(TypeError, match="Reverse or Forward"):
        autodiff("reverse", lambda: None)
    with pytest.raises(TypeError, match="function"):
        autodiff(Reverse, 3)
    with pytest.raises(TypeError, match=r"Active.*Duplicated"):
        Active(np.ones(1))
    with pytest.raises(TypeError, match="activity of the result"):
        autodiff(Reverse, lambda: None, Duplicated)
    assert autodiff(Reverse, lambda: 3, Const) == 3


OPTIONS = [
    ({"memory_limit": -1}, ValueError, r"memory_limit=-1.*bytes.*None"),
    ({"threads": "some"}, ValueError, "threads='some'"),
    ({"copies": "never"}, ValueError, "copies='never'"),
    ({"undeclared": "ignore"}, ValueError, "undeclared='ignore'"),
]


@pytest.mark.parametrize(("options", "error", "pattern"), OPTIONS)
def test_options(options, error, pattern):
    with pytest.raises(error, match=pattern):
        Tape(**options)
    with pytest.raises(error, match=pattern):
        autodiff(Reverse, lambda: pytest.fail("f ran"), **options)
    with pytest.raises(TypeError, match="mode"):
        Tape("reverse")


def test_what_is_not_there_yet_says_so():
    tape = Tape()
    for name in ("save", "gradient", "buffers"):
        with pytest.raises(AttributeError, match=f"{name} is not there yet"):
            getattr(tape, name)
    for name in ("hook", "intercept", "libraries", "load", "release"):
        with pytest.raises(AttributeError, match=f"{name} is not there yet"):
            getattr(blasad, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tape.nonsense
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = blasad.nonsense


# ---------------------------------------------------------------- found while recording


@pytest.mark.parametrize("inputs", [("A", "B"), ("B", "A"), ("A", "A"), ("A[1]", "B"), ("B", "A[1]")])
def test_output_that_is_an_input(inputs):
    """Section 5. The message names the call, both operands and their buffer."""

    def body(b: Buffers) -> None:
        b.gemm("A[1]", *inputs, m=1, n=1, k=2, lda=1, ldb=2, ldc=1)

    text = found_while_recording(
        body, blasad.AliasError, r"dgemm \(call 0, through dgemm_\): operand c .* shares elements with operand [ab] "
    )
    assert "A (Duplicated, float64 4)" in text
    assert "memory of its own" in text


def test_names_in_a_row_major_call():
    """Operands are called as the program called them, though row-major calls swap them."""

    def body(b: Buffers) -> None:
        b.gemm("A[1]", "B", "A", road=CBLAS[0], layout="row", m=1, n=2, k=1)

    text = found_while_recording(body, blasad.AliasError, r"operand c \(.*shares elements with operand b \(")
    assert "operand a" not in text


def test_output_that_holds_the_scalar():
    text = found_while_recording(lambda b: b.gemm("C", "A", "B", alpha="C[3]"), blasad.AliasError, "scalar alpha")
    assert "copy of the scalar" in text


def test_overlap_of_constants_is_nobodys_business():
    """Section 5: it passes through if the call touches nothing active."""
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "CD", const="A")
        b.gemm("A", "A", "A")  # constant
        b.gemm("B", "B", "B")  # scratch
        b.gemm("C", "A", "B", alpha=0.0, beta=1.0)  # returns at once: nothing is touched
        b.gemm("C", "C", "C", alpha=0.0, beta=1.0)
    tape.reverse()
    assert b.shadows_are_as_they_were()


def test_constant_output():
    """Section 1: an active value in Const memory would end the gradient there."""
    text = found_while_recording(
        lambda b: b.gemm("C", "A", "B"), blasad.ActivityError, "operand c .*annotated as constant", "ABDs", "C"
    )
    assert "C (Const, float64 4)" in text
    assert "blasad.shadow(x)" in text


def test_recorded_calls_may_write_constants_to_constant_memory():
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "D", const="ABC")
        b.gemm("C", "A", "B")
        b.gemm("s", "C", "C")
        b.gemm("D", "C", "s")
    tape.reverse()
    assert not b.dx["D"].any()
    assert all(bits(b.dx[n]) == bits(b.seeds[n]) for n in "ABCs")


INVALID_FORTRAN = {
    1: ("transa", "X"),
    2: ("transb", "Q"),
    3: ("m", -1),
    4: ("n", -2),
    5: ("k", -3),
    8: ("lda", 1),
    10: ("ldb", 1),
    13: ("ldc", 1),
}


@pytest.mark.parametrize("road", ROADS, ids=str)
@pytest.mark.parametrize("order", ["col", "row"])  # for Fortran: with an operand transposed
@pytest.mark.parametrize("number", INVALID_FORTRAN)
def test_invalid_argument(number, road, order):
    """Section 4: routine, argument as the program numbered it, and value; the BLAS is left to deal with it."""
    name, value = INVALID_FORTRAN[number]
    changes = (
        {name: value} | ({"layout": order} if road.cblas else {"transb": "T"} if order == "row" else {}) | {name: value}
    )
    shown = str(value) if "trans" not in name else "no CBLAS_TRANSPOSE" if road.cblas else f"'{value}'"

    def body(b: Buffers) -> None:
        before = b.x["C"].copy()
        b.gemm("C", "A", "B", road=road, **changes)
        assert bits(b.x["C"]) == bits(before)

    found_while_recording(
        body,
        blasad.InvalidCallError,
        rf"dgemm \(call 0, .*argument {number + road.cblas} \({name}\) = {shown}.*nothing",
    )


@pytest.mark.parametrize(
    ("layout", "trans", "sizes", "bad"),
    [
        # the least legal leading dimensions: rows as stored, or columns in row-major
        ("col", "NN", (5, 3, 4), {"lda": 5, "ldb": 4, "ldc": 5}),
        ("col", "TC", (5, 3, 4), {"lda": 4, "ldb": 3, "ldc": 5}),
        ("row", "NN", (5, 3, 4), {"lda": 4, "ldb": 3, "ldc": 3}),
        ("row", "CT", (5, 3, 4), {"lda": 5, "ldb": 4, "ldc": 3}),
        ("col", "NN", (0, 3, 0), {"lda": 1, "ldb": 1, "ldc": 1}),
        ("row", "NN", (0, 0, 0), {"lda": 1, "ldb": 1, "ldc": 1}),
    ],
)
def test_least_leading_dimensions(layout, trans, sizes, bad):
    """One less is an illegal call, and the number is that of the CBLAS argument list in either order."""
    m, n, k = sizes
    numbers = {"lda": 9, "ldb": 11, "ldc": 14}
    x, dx = {name: np.ones(40) for name in "ABC"}, {name: np.ones(40) for name in "ABC"}
    for wrong in (None, *numbers):
        tape = Tape()
        lds = {**bad, **({wrong: bad[wrong] - 1} if wrong else {})}
        step = {"layout": layout, "transa": trans[0], "transb": trans[1], "m": m, "n": n, "k": k, **lds}
        with ends_with(tape, blasad.InvalidCallError, "illegal") if wrong else tape as said:
            for name in "ABC":
                tape.duplicated(x[name], dx[name], name=name)
            gemm(x, "C", "A", "B", road=CBLAS[0], **step)
        if wrong:
            assert f"argument {numbers[wrong]} ({wrong}) = {bad[wrong] - 1} is illegal" in said[0]
        else:
            assert len(tape) == 1


@pytest.mark.parametrize("road", FORTRAN, ids=str)
def test_flag_beyond_the_reference(road):
    """OpenBLAS takes 'R' for conj(X). Section 4 leaves two answers: recorded right, or an invalid call."""
    x, dx = {n: np.array([1 + 2j, 0.5j, -1, 2 - 1j]) for n in "ABC"}, {n: np.zeros(4, complex) for n in "ABC"}
    tape = Tape()
    try:
        with tape:
            for n in "ABC":
                tape.duplicated(x[n], dx[n], name=n)
            gemm(x, "C", "A", "B", road=road, transa="R", m=1, n=1, k=1, lda=1, ldb=1, ldc=1)
    except blasad.InvalidCallError as error:
        said = str(error)
    else:
        dx["C"][0], said = 1, "argument 1"
        tape.reverse()
        assert dx["A"][0] == x["B"][0]
    assert "argument 1" in said


@pytest.mark.parametrize("road", CBLAS, ids=str)
def test_invalid_layout(road):
    found_while_recording(lambda b: road_with_layout(road, 103, b), blasad.InvalidCallError, r"argument 1 \(layout\)")


def road_with_layout(road: Road, layout: int, b: Buffers) -> None:
    integer = ctypes.c_int64 if road.bits == 64 else ctypes.c_int32
    pointer, double = ctypes.c_void_p, ctypes.c_double
    kinds = [ctypes.c_int] * 3 + [integer] * 3 + [double, pointer, integer, pointer, integer, double, pointer, integer]
    at = {n: x.ctypes.data for n, x in b.x.items()}
    function = ctypes.CFUNCTYPE(None, *kinds)(road.pointer("dgemm"))
    function(layout, 111, 111, 2, 2, 2, 1.0, at["A"], 2, at["B"], 2, 0.0, at["C"], 2)


def test_scalars_that_are_no_pointers():
    """A call that returns before it reads its scalars may pass NULL, and does."""
    b = Buffers()
    kinds = [ctypes.c_char_p] * 2 + [ctypes.c_void_p] * 11
    function = ctypes.CFUNCTYPE(None, *kinds)(blasad.address("dgemm_"))
    zero, two = ctypes.c_int(0), ctypes.c_int(2)
    n, m = ctypes.addressof(two), ctypes.addressof(zero)
    a, bb, c = (b.x[name].ctypes.data for name in "ABC")
    for recording in (False, True):
        with Tape() if recording else contextlib.nullcontext() as tape:
            if tape is not None:
                b.annotate(tape)
            function(b"N", b"N", m, n, n, None, a, n, bb, n, None, c, n)
            function(b"N", b"N", n, m, n, None, a, n, bb, n, None, c, n)
    assert len(tape) == 2
    tape.reverse()
    assert b.shadows_are_as_they_were()


def test_invalid_call_without_anything_active():
    b = Buffers()
    tape = Tape(undeclared="constant")
    with ends_with(tape, blasad.InvalidCallError, "lda"):
        b.gemm("C", "A", "B", lda=1)


def test_dimension_that_the_blas_cannot_take():
    """64-bit integers by name, 32-bit ones behind it: a large number is refused, not cut."""
    text = found_while_recording(
        lambda b: b.gemm("C", "A", "B", road=FORTRAN[1], order=1, m=2**32 + 1, lda=2**32 + 1, ldc=2**32 + 1),
        blasad.BackendError,
        "32-bit integers",
    )
    assert "set_backend" in text


WIDE = next(r for r in FORTRAN if r.package == "numpy")


@pytest.mark.parametrize("scalar", [1.0, "s[1]"])
def test_leading_dimensions_beyond_32_bits(scalar):
    """A vector may have any leading dimension, and 64-bit libraries take it."""
    b, far = Buffers(), 2**33
    with Tape() as tape:
        b.annotate(tape)
        b.gemm("C", "A", "B", road=WIDE, m=2, n=1, k=1, alpha=scalar, lda=far, ldb=far + 1, ldc=far + 2)
    (call,) = tape
    assert [o.ld for o in call.operands] == [far, far + 1, far + 2]
    tape.reverse()
    alpha, ds = (b.x["s"][1], b.dx["s"][1] - b.seeds["s"][1]) if scalar != 1.0 else (1.0, None)
    g = b.seeds["C"][:2]
    assert np.allclose(b.dx["A"][:2], b.seeds["A"][:2] + alpha * g * b.x["B"][0], rtol=1e-14)
    assert np.isclose(b.dx["B"][0], b.seeds["B"][0] + alpha * (g @ b.x["A"][:2]), rtol=1e-14)
    assert ds is None or np.isclose(ds, (g @ b.x["A"][:2]) * b.x["B"][0], rtol=1e-12)
    assert b.dx["C"].tolist() == [0, 0, *b.seeds["C"][2:]]


@pytest.mark.parametrize("what", ["A", "B", "C", "s"])
def test_width(what):
    """Section 1: a call whose reals have another width than the annotation says."""
    x = {n: np.ones(8, np.float32) for n in "ABCs"}
    dx = {n: np.ones(8, np.float32) for n in "ABCs"}
    tape = Tape()
    with ends_with(tape, blasad.ActivityError, rf"sgemm.* 4 bytes.*{what}.*8-byte"):
        for n in "ABCs":
            kind = np.float64 if n == what else np.float32
            tape.duplicated(x[n].view(kind), dx[n].view(kind), name=n)
        gemm(x, "C", "A", "B", alpha="s")
    raises_until_closed(tape, blasad.ActivityError, "annotate it as what the call uses")
    assert all((d == 1).all() for d in dx.values())


@pytest.mark.parametrize("what", ["A", "B", "C"])
def test_width_of_one_element(what):
    """Half a number of the annotation is a number of another width, not an operand that is annotated in part."""
    x, dx = {n: np.ones(2, np.float32) for n in "ABC"}, {n: np.ones(2, np.float32) for n in "ABC"}
    tape = Tape()
    with ends_with(tape, blasad.ActivityError, r"sgemm.* 4 bytes.*8-byte"):
        for n in "ABC":
            kind = np.float64 if n == what else np.float32
            tape.duplicated(x[n].view(kind), dx[n].view(kind), name=n)
        gemm(x, "C", "A", "B", order=1)


def test_width_of_plain_bytes_is_learned():
    """Bytes behind an address have the width of the first call, and keep it."""
    x, dx = np.ones(12), np.zeros(12)
    tape = Tape()
    with ends_with(tape, blasad.ActivityError, r"sgemm.* 4 bytes.*8-byte"):
        tape.duplicated(x.ctypes.data, dx.ctypes.data, nbytes=x.nbytes)
        gemm({"x": x}, "x[8]", "x", "x[4]")
        gemm({"x": x.view(np.float32)}, "x[8]", "x", "x[4]")


# ---------------------------------------------------------------- scalars by value (8)


def one_by_one(b: Buffers, out: str, **changes: Any) -> None:
    b.gemm(out, "A", "B", **{"order": 1, **changes})


@pytest.mark.parametrize("road", [FORTRAN[0], CBLAS[0]], ids=str)
@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_active_number_that_comes_back_by_value(name, road):
    """Section 8: a constant scalar with the bits of an active number that a recorded call wrote."""

    def body(b: Buffers) -> None:
        one_by_one(b, "C")
        b.gemm("s", "A", "B", road=road, **{name: float(b.x["C"][0])})

    text = found_while_recording(body, blasad.ActivityError, rf"call 1, .*scalar {name} = 0\.\d+ has the bits")
    assert "pass the address" in text


def test_active_number_from_other_bytes():
    def body(b: Buffers) -> None:
        one_by_one(b, "C")
        copy = b.x["C"][:1].copy()
        gemm({**b.x, "copy": copy}, "D", "A", "B", alpha="copy")

    found_while_recording(body, blasad.ActivityError, "scalar alpha")


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_numbers_that_are_in_every_program(value):
    """Section 8 excepts 0 and +-1."""
    b = Buffers()
    b.x["A"][0], b.x["B"][0] = 1, value
    with Tape() as tape:
        b.annotate(tape)
        one_by_one(b, "C")
        assert b.x["C"][0] == value
        b.gemm("D", "A", "B", alpha=value)
    tape.reverse()


def test_an_active_scalar_by_its_own_address_is_no_copy():
    """Section 8 is about other bytes: by its address it is active, or does not matter."""
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape)
        one_by_one(b, "s")
        b.gemm("C", "A", "B", alpha="s")
        b.gemm("C", "A", "B", alpha="s", k=0, beta=0.5)
        b.gemm("C", "A", "B", alpha="s", beta="s", m=0)
    tape.reverse()
    assert [c.active_scalars for c in tape] == [(), ("alpha",), (), ()]


def test_a_constant_number_may_come_back():
    """Only active numbers are remembered: what constants made is constant."""
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "CDs", const="AB")
        one_by_one(b, "C")
        b.gemm("D", "A", "B", alpha=float(b.x["C"][0]))
    tape.reverse()


def test_a_number_of_another_type_is_another_number():
    b = Buffers()
    single = {n: np.full(4, 0.5, np.float32) for n in "XYZ"}
    b.x["A"][0], b.x["B"][0] = 0.5, 0.5
    with Tape(undeclared="constant") as tape:
        b.annotate(tape)
        one_by_one(b, "C")
        gemm(single, "Z", "X", "Y", alpha=0.25)
    tape.reverse()


# ---------------------------------------------------------------- what nobody declared (7)


def test_undeclared_warn():
    """One warning when recording ends, at the user's own line, that names calls, operands and the way out."""
    b, tape = Buffers(), Tape()

    def block() -> None:
        with tape:
            b.annotate(tape, "CD")
            b.gemm("C", "A", "B")
            b.gemm("D", "A", "A")

    with pytest.warns(blasad.ActivityWarning) as said:
        block()
    (warning,) = said
    assert warning.filename == __file__
    text = str(warning.message)
    at = f"{b.x['A'].ctypes.data:#x}"
    for part in ("operand a ", "operand b ", "call 0: dgemm", "call 1: dgemm", at, "undeclared="):
        assert part in text
    assert [(a.call.index, a.operand.name) for a in tape.assumptions] == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert "assumed" in str(tape)
    tape.reverse()
    with pytest.warns(blasad.ActivityWarning) as said:
        autodiff(Reverse, lambda c: b.gemm("C", "A", "B"), Duplicated(b.x["C"], b.dx["C"]))
    assert said[0].filename == __file__


def test_undeclared_warn_is_short():
    b = Buffers()
    tape = Tape()
    tape.__enter__()
    b.annotate(tape, "C")
    for _ in range(10):
        b.gemm("C", "A", "B")
    with pytest.warns(blasad.ActivityWarning, match="and 15 more"):
        tape.__exit__(None, None, None)
    assert len(tape.assumptions) == 20


def test_undeclared_constant():
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "C")
        b.gemm("C", "A", "B", beta=1.0)
        b.gemm("C", "A", "B", alpha=0.0)  # reads neither
    assert [(a.call.index, a.operand.name) for a in tape.assumptions] == [(0, "a"), (0, "b")]
    assert all(a.operand.assumed and a.operand.activity == "undeclared" for a in tape.assumptions)
    assert tape.assumptions[0].call.caller in str(tape.assumptions[0])


def test_undeclared_error():
    def body(b: Buffers) -> None:
        b.gemm("C", "A", "D")
        b.gemm("C", "A", "B")

    text = found_while_recording_undeclared(body)
    assert "call 1" in text
    assert "operand b " in text


def found_while_recording_undeclared(body: Callable[[Buffers], None]) -> str:
    b = Buffers()
    tape = Tape(undeclared="error")
    with ends_with(tape, blasad.ActivityError, "nobody annotated.*undeclared=") as caught:
        b.annotate(tape, "ACD")
        body(b)
    raises_until_closed(tape, blasad.ActivityError, "nobody annotated")
    assert b.shadows_are_as_they_were()
    return caught[0]


@pytest.mark.parametrize("undeclared", ["warn", "error", "constant"])
def test_what_recorded_calls_filled_is_no_assumption(undeclared):
    b = Buffers()
    with Tape(undeclared=undeclared) as tape:
        b.annotate(tape, "D", const="AB")
        b.gemm("C", "A", "B")
        b.gemm("D", "C", "C")
        b.gemm("D", "C[1]", "C", order=1)
    assert not tape.assumptions
    assert [o.activity for o in tape[1].operands] == ["undeclared", "undeclared", "duplicated"]


def test_scratch_that_a_call_filled_in_part_is_an_assumption():
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "D", const="AB")
        b.gemm("C", "A", "B", order=1)
        b.gemm("D", "C", "C")
    assert [(a.call.index, a.operand.name) for a in tape.assumptions] == [(1, "a"), (1, "b")]


@pytest.mark.parametrize("undeclared", ["warn", "constant", "error"])
def test_duplicated_range_that_changed_though_no_call_touched_it(undeclared):
    """Section 7: it is an assumption, whatever the setting makes of those."""
    b = Buffers()
    tape = Tape(undeclared=undeclared)

    def block() -> None:
        with tape:
            b.annotate(tape)
            b.gemm("C", "A", "B")
            b.x["D"][1] = 5

    if undeclared == "warn":
        with pytest.warns(blasad.ActivityWarning, match=r"D \(Duplicated.*no recorded call touched it"):
            block()
    elif undeclared == "error":
        with pytest.raises(blasad.ActivityError, match=r"D \(Duplicated"):
            block()
    else:
        block()
    if undeclared != "error":
        (assumption,) = tape.assumptions
        assert assumption.call is None
        assert "D (Duplicated" in str(assumption)
        tape.reverse()
        assert bits(b.dx["D"]) == bits(b.seeds["D"])


@pytest.mark.parametrize("undeclared", ["warn", "constant"])
def test_undeclared_copy_of_an_active_value(undeclared):
    """Section 7: whatever the setting, a copy of 8 or more elements of an active value is not taken for a constant."""
    x, dx = {n: np.arange(1.0, 10.0) for n in "ABC"}, np.zeros(9)
    tape = Tape(undeclared=undeclared)
    tape.__enter__()
    tape.duplicated(x["A"], dx, name="A")
    tape.const(x["B"], name="B")
    x["T"] = x["A"].copy()
    gemm(x, "C", "T", "B", order=3)
    warnings.simplefilter("ignore", blasad.ActivityWarning)  # pytest puts the filters back
    with pytest.raises(blasad.ActivityError, match="copy"):
        tape.__exit__(None, None, None)


# ---------------------------------------------------------------- unseen writes (7)


def test_unseen_write_names_buffer_element_and_events():
    def body(b: Buffers) -> None:
        b.gemm("C", "A", "B")
        b.x["C"][2] = 7
        b.gemm("D", "C", "B")

    text = found_while_recording(body, blasad.UnseenWriteError, r"C \(Duplicated, float64 4\) changed")
    assert "byte 16 " in text
    assert "between call 0 (dgemm, through dgemm_) and dgemm (call 1, through dgemm_)" in text
    assert "verify=False" in text


def test_unseen_write_to_a_scalar():
    """Scalars are memory: one that is read as active must be what recorded events left."""

    def body(b: Buffers) -> None:
        b.gemm("C", "A", "B", alpha="s[1]")
        b.x["s"][1] = 2
        b.gemm("D", "A", "B", alpha="s[1]")

    text = found_while_recording(body, blasad.UnseenWriteError, r"s \(Duplicated, float64 4\) changed")
    assert "between call 0" in text


@pytest.mark.parametrize("name", ["A", "C", "s"])
def test_unseen_write_before_the_end(name):
    """What was touched must be as it was left when recording ends."""

    b = Buffers()
    tape = Tape()
    with ends_with(tape, blasad.UnseenWriteError, rf"{name} .*the end of the recording"):
        b.annotate(tape)
        b.gemm("C", "A", "B", alpha="s[1]")
        b.x[name][1] += 1
    raises_until_closed(tape, blasad.UnseenWriteError, "end of the recording")
    assert b.shadows_are_as_they_were()


@pytest.mark.parametrize("kind", ["duplicated", "const"])
@pytest.mark.parametrize("needed", [True, False])
def test_unseen_write_before_a_recorded_one(kind, needed):
    """A needed value is saved when a call overwrites it, and has to be the one that the earlier call saw; where none is
    needed, what is overwritten without being read is dead."""
    b, tape = Buffers(), Tape(undeclared="constant")
    names = "ABC" if kind == "const" else "ABCD"
    const = "D" if kind == "const" else ""

    def block() -> None:
        b.annotate(tape, names, const)
        b.gemm("C", "D", "B" if needed else "s")  # dB needs D
        b.x["D"][3] += 1
        b.gemm("D", "s", "s")

    if needed:
        with ends_with(tape, blasad.UnseenWriteError, r"D \(.*between call 0 .*and dgemm \(call 1"):
            block()
        return
    with tape:
        block()
    tape.reverse()
    assert not b.dx["C"].any()


def test_recorded_writes_to_constants_are_seen():
    """Constant memory that was needed, is overwritten by a recorded call, and needed again: nothing is amiss."""
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "ABC", const="D")
        old = b.x["D"].copy()
        b.gemm("C", "D", "A")
        b.gemm("D", "s", "s")
        b.gemm("C", "D", "B", beta=1.0)
        new = b.x["D"].copy()
    tape.reverse()
    g, d = (np.reshape(x, (2, 2)).T for x in (b.seeds["C"], old))
    assert np.allclose(b.dx["A"].reshape(2, 2).T, b.seeds["A"].reshape(2, 2).T + d.T @ g, rtol=1e-14)
    assert np.allclose(b.dx["B"].reshape(2, 2).T, b.seeds["B"].reshape(2, 2).T + new.reshape(2, 2) @ g, rtol=1e-14)


def test_constants_are_watched_again_after_a_recorded_write():
    b, tape = Buffers(), Tape(undeclared="constant")
    with ends_with(tape, blasad.UnseenWriteError, r"D \(Const.*between call 2 .*and dgemm \(call 3"):
        b.annotate(tape, "ABC", const="D")
        b.gemm("C", "D", "A")
        b.gemm("D", "s", "s")
        b.gemm("C", "D", "B")
        b.x["D"][0] += 1
        b.gemm("C", "D", "B")


def test_unseen_write_before_the_replay():
    """Values that the replay reads in place; all others are the program's to change once it has ended."""
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape, "ACD", const="B")
        b.gemm("C", "A", "B")
    b.x["C"][:] = 0
    b.x["A"][:] = 0  # needed for dB only, and B is constant
    b.x["D"][:] = 0
    tape.reverse()
    b.x["B"][3] += 1
    before = {n: dx.copy() for n, dx in b.dx.items()}
    with pytest.raises(blasad.UnseenWriteError, match=r"B \(Const.*between call 0 .* and reverse\(\)"):
        tape.reverse()
    assert all(bits(dx) == bits(before[n]) for n, dx in b.dx.items())


def test_verify_false_takes_content_as_it_is():
    b = Buffers()
    with Tape(verify=False) as tape:
        b.annotate(tape)
        b.gemm("C", "A", "B")
        b.x["A"][:] = 3
    b.x["C"][:] = 4
    tape.reverse()
    g = b.seeds["C"].reshape(2, 2).T
    assert np.allclose(b.dx["B"].reshape(2, 2).T, b.seeds["B"].reshape(2, 2).T + np.full((2, 2), 3.0).T @ g)


# ---------------------------------------------------------------- f raises, blocks that raise


@pytest.mark.parametrize("recorded_error", [False, True])
def test_f_raises(recorded_error):
    """Section 11: that exception passes through; shadows are as they were."""
    b = Buffers()

    def f(*_: object) -> None:
        b.gemm("C", "A", "A" if not recorded_error else "C")
        raise KeyError("the user's own")

    arguments = [Duplicated(b.x[n], b.dx[n]) for n in "ABC"]
    with pytest.raises(KeyError, match="the user's own"):
        autodiff(Reverse, f, *arguments)
    assert b.shadows_are_as_they_were()
    with Tape() as tape:  # and the thread records nothing any more
        pass
    b.gemm("C", "A", "B")
    assert len(tape) == 0


def test_f_raises_in_forward_mode():
    """Primals and shadows are as the calls so far left them."""
    b = Buffers()

    def f(*_: object) -> None:
        b.gemm("C", "A", "B", beta=0.0)
        raise KeyError

    with pytest.raises(KeyError):
        autodiff(Forward, f, *[Duplicated(b.x[n], b.dx[n]) for n in "ABC"])
    x, d = ({n: v.reshape(2, 2).T for n, v in m.items()} for m in (b.x, b.seeds))
    assert np.allclose(b.x["C"].reshape(2, 2).T, x["A"] @ x["B"], rtol=1e-15)
    assert np.allclose(b.dx["C"].reshape(2, 2).T, d["A"] @ x["B"] + x["A"] @ d["B"], rtol=1e-14)


def test_error_that_waits_behind_an_exception():
    """The exception of the block goes first, what the tape found is raised when it is used."""
    b = Buffers()
    tape = Tape()

    def block() -> None:
        with tape:
            b.annotate(tape)
            b.gemm("A", "A", "B")
            raise KeyError

    with pytest.raises(KeyError):
        block()
    raises_until_closed(tape, blasad.AliasError, "shares elements")
    assert b.shadows_are_as_they_were()


def test_first_error_stays():
    b = Buffers()
    tape = Tape()
    with ends_with(tape, blasad.AliasError, "."):
        b.annotate(tape)
        b.gemm("A", "A", "B")
        b.gemm("C", "A", "B", lda=1)
    raises_until_closed(tape, blasad.AliasError, "shares elements")


LITTLE_MEMORY = """
import resource
import numpy as np
from blasad import Tape
from roads import gemm

n = 1500  # its square of doubles is 18 MB
memory = {name: np.full(n * n, 0.5) for name in "ABC"}
shadow = {name: np.full(n * n, 0.25) for name in "ABC"}
gemm(memory, "C", "A", "B", order=n)  # what BLAS itself wants it has
tape = Tape(undeclared="constant", verify=False)
tape.__enter__()
for name in "AC":
    tape.duplicated(memory[name], shadow[name], name=name)

def limit():
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 20), -1))

def refused(f):
    try:
        f()
    except MemoryError as error:
        assert "no memory to" in str(error), error
    else:
        raise AssertionError("there was memory")
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    assert all((dx == 0.25).all() for dx in shadow.values())
"""


@pytest.mark.parametrize("when", ["recording", "replaying"])
def test_no_memory(when):
    """Sections 3 and 11: a refused allocation disturbs neither the program nor a shadow."""
    rest = {
        "recording": """
            limit()
            gemm(memory, "C", "A", "B", order=n)  # B would have to be copied
            refused(lambda: tape.__exit__(None, None, None))
            assert (memory["C"] == n / 4).all()
            refused(tape.reverse)
        """,
        "replaying": """
            gemm(memory, "C", "A", "A", order=2)
            gemm(memory, "A", "B", "B", order=2)  # A as it was is put together at the replay
            tape.__exit__(None, None, None)
            limit()
            refused(tape.reverse)
            tape.reverse()
            assert shadow["C"][:4].tolist() == [0] * 4
            assert shadow["A"][4:8].tolist() == [0.25] * 4
        """,
    }[when]
    done = run_python(LITTLE_MEMORY + textwrap.dedent(rest))
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- what a tape cannot do now


def test_reverse_at_the_wrong_time():
    b = Buffers()
    tape = Tape()
    with pytest.raises(blasad.TapeError, match="not recorded anything yet"):
        tape.reverse()
    with tape:
        b.annotate(tape)
        b.gemm("C", "A", "B")
        with pytest.raises(blasad.TapeError, match="inside the tape's own block"):
            tape.reverse()
        assert b.shadows_are_as_they_were()
    tape.reverse()  # and nothing was lost
    assert not b.dx["C"].any()
    with Tape(Forward) as forward:
        pass
    with pytest.raises(blasad.TapeError, match="forward mode"):
        forward.reverse()


def test_a_tape_records_once():
    tape = Tape()
    with tape, pytest.raises(blasad.TapeError, match="opened before"):
        tape.__enter__()
    with pytest.raises(blasad.TapeError, match="opened before"):
        tape.__enter__()


@pytest.mark.parametrize("kind", ["operand", "part", "scalar"])
def test_annotating_what_a_call_has_touched(kind):
    """api: at once, where it is still known which line did it. The tape goes on."""
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        b.annotate(tape, "CD")
        b.gemm("C", "A", "B", alpha="s[1]")
        part = {"operand": slice(None), "part": slice(3, None), "scalar": slice(1, 2)}[kind]
        name = "s" if kind == "scalar" else "A"
        with pytest.raises(blasad.TapeError, match="touched"):
            tape.duplicated(b.x[name][part], b.dx[name][part])
        tape.duplicated(b.x["s"][2:], b.dx["s"][2:])  # not touched
        tape.duplicated(b.x["C"], b.dx["C"])  # nothing new
        b.gemm("D", "C", "C", alpha="s[2]")
    tape.reverse()
    with pytest.raises(blasad.TapeError, match="ended recording"):
        tape.const(np.ones(3))


def test_annotating_around_what_a_call_has_touched():
    b = Buffers()
    with Tape(undeclared="constant") as tape:
        tape.duplicated(b.x["C"][:1], b.dx["C"][:1])
        b.gemm("C", "A", "B", order=1)
        with pytest.raises(blasad.TapeError, match="touched already"):
            tape.duplicated(b.x["C"], b.dx["C"])
    tape.reverse()
    assert b.dx["C"].tolist() == [0, *b.seeds["C"][1:]]


def test_annotating_the_whole_after_its_part():
    """A write between the two annotations is as unseen as any (7)."""
    b, tape = Buffers(), Tape()
    with ends_with(tape, blasad.UnseenWriteError, r"A \(Duplicated, float64 4\)"):
        tape.duplicated(b.x["A"][1:3], b.dx["A"][1:3], name="part")
        b.x["A"][1] += 1
        b.annotate(tape)
        b.gemm("C", "A", "B")
    with Tape() as fresh:
        fresh.duplicated(b.x["A"][1:3], b.dx["A"][1:3], name="part")
        b.x["A"][0] += 1  # nobody has said anything of this one yet
        b.annotate(fresh)
        b.gemm("C", "A", "B")
    fresh.reverse()


def test_annotating_while_recording():
    """Any time before the first use."""
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape, "ABC")
        b.gemm("C", "A", "B")
        tape.duplicated(b.x["D"], b.dx["D"])
        b.gemm("D", "C", "B")
    tape.reverse()
    assert not b.dx["D"].any()


def test_closed_tape():
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape)
        b.gemm("C", "A", "B")
    tape.close()
    tape.close()
    for use in (tape.reverse, lambda: len(tape), lambda: str(tape), lambda: tape.saved_bytes, lambda: tape.assumptions):
        with pytest.raises(blasad.TapeError, match="closed"):
            use()
    assert repr(tape).startswith("<closed")


# ---------------------------------------------------------------- other threads (9)


def in_thread(body: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize(
    ("operands", "changes"),
    [
        (("C", "X", "Y"), {}),
        (("Z", "A", "Y"), {}),
        (("Z", "X", "B"), {}),
        (("Z", "X", "Y"), {"alpha": "s[1]"}),
        (("Z", "X", "Y"), {"beta": "s[1]"}),
    ],
)
def test_another_thread_touches_active_memory(operands, changes):
    """Section 9: an ActivityError on the tape whose memory it is. The other thread's call is made, and not recorded."""
    b = Buffers(names="ABCDsXYZ")
    tape = Tape()
    with ends_with(tape, blasad.ActivityError, r"dgemm on another thread touched") as caught:
        b.annotate(tape)
        b.gemm("C", "A", "B")
        in_thread(lambda: b.gemm(*operands, **changes))
        assert len(tape) == 1
        b.gemm("D", "A", "B")
    assert "call it there" in caught[0]
    raises_until_closed(tape, blasad.ActivityError, "another thread")
    assert b.shadows_are_as_they_were()


def test_another_thread_may_do_as_it_likes_elsewhere():
    """Constants, memory that nobody annotated, and operands that are not accessed are no matter of the tape."""
    b = Buffers(names="ABCDsXYZ")
    with Tape() as tape:
        b.annotate(tape, "ABD", const="C")
        b.gemm("D", "A", "B")
        in_thread(lambda: b.gemm("Z", "X", "C"))
        in_thread(lambda: b.gemm("Z", "A", "B", alpha=0.0))
        in_thread(lambda: b.gemm("D", "X", "Y", m=0))
        in_thread(lambda: b.gemm("Z", "A", "B", k=0))
    assert len(tape) == 1
    tape.reverse()


def test_another_thread_calls_nonsense():
    """An illegal call of another thread is that thread's matter, whatever its arguments would name."""
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape)
        for changes in ({"m": -3}, {"k": -1}, {"lda": 0}, {"ldc": -(2**31)}, {"transa": "?"}):
            in_thread(lambda changes=changes: b.gemm("C", "A", "B", **changes))
        b.gemm("C", "A", "B")
    assert len(tape) == 1
    tape.reverse()


def test_thread_that_ends_with_an_open_tape():
    """Section 9, api: no thread is left recording. What the tape has is not taken for the whole."""
    b, tape = Buffers(), Tape()

    def leave() -> None:
        tape.__enter__()
        b.annotate(tape)
        b.gemm("C", "A", "B")

    in_thread(leave)
    for _ in range(1000):  # join() returns a moment before the thread of the system is gone
        try:
            blasad.set_backend(None)  # refused while a tape is open anywhere
            break
        except blasad.TapeError:
            time.sleep(0.01)
    in_thread(lambda: b.gemm("C", "A", "B"))  # nobody's thread, even if it got the other one's place in memory
    with pytest.raises(blasad.TapeError, match="has ended"):
        tape.reverse()
    assert b.shadows_are_as_they_were()
    with Tape() as another:
        b.annotate(another)
        b.gemm("C", "A", "B")
    another.reverse()


def test_a_tape_belongs_to_its_thread():
    b, tape = Buffers(), Tape()
    with tape:
        b.annotate(tape, "AB")

        def meddle() -> None:
            for use in (lambda: tape.__exit__(None, None, None), lambda: tape.const(b.x["C"]), tape.close):
                with pytest.raises(blasad.TapeError, match="another thread"):
                    use()

        in_thread(meddle)
        tape.duplicated(b.x["C"], b.dx["C"])
        b.gemm("C", "A", "B")
    in_thread(tape.reverse)  # replaying is anybody's, one at a time
    assert not b.dx["C"].any()


def test_two_tapes_on_two_threads_see_each_others_memory_as_active():
    b, other = Buffers(), Buffers()
    tape = Tape()
    with ends_with(tape, blasad.ActivityError, "another thread"):
        b.annotate(tape)

        def second() -> None:
            with Tape(undeclared="constant") as inner:
                other.annotate(inner)
                other.gemm("C", "A", "B")
                gemm({"A": b.x["A"], "D": other.x["D"]}, "D", "A", "A")
            assert len(inner) == 2
            inner.reverse()

        in_thread(second)


# ---------------------------------------------------------------- the BLAS behind


@pytest.fixture
def backend() -> Iterator[None]:
    """Puts SciPy's back."""
    yield
    blasad.set_backend(None)


def some_library() -> str:
    return ctypes.util.find_library("m") or "libm.so.6"


def works() -> bool:
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape)
        b.gemm("C", "A", "B")
        b.gemm("D", "A", "B", road=CBLAS[1])
    tape.reverse()
    product = b.x["A"].reshape(2, 2).T @ b.x["B"].reshape(2, 2).T
    return all(np.allclose(b.x[n].reshape(2, 2).T, product) for n in "CD") and not b.dx["C"].any()


@pytest.mark.parametrize("package", ["scipy", "numpy"])
def test_set_backend(package, backend):
    """Either width serves every name."""
    path = library(package)._name
    blasad.set_backend(path)
    assert blasad.backend.describe_backend() == (path, 64 if package == "numpy" else 32)
    assert works()
    b = Buffers()
    with Tape() as tape:
        b.annotate(tape)
        b.gemm("C", "A", "B")
        # the BLAS that served the call serves its adjoint
    blasad.set_backend(None)
    tape.reverse()
    assert not b.dx["C"].any()


def test_set_backend_refuses_what_is_no_blas(backend):
    for path, pattern in (
        (some_library(), "no BLAS"),
        ("/nowhere/libblas.so", "cannot be loaded"),
        (__file__, "cannot be loaded"),
    ):
        with pytest.raises(blasad.BackendError, match=pattern):
            blasad.set_backend(path)
        assert blasad.backend.describe_backend()[0] == "scipy.linalg.cython_blas"
    assert works()


def test_set_backend_while_a_tape_is_open(backend):
    with Tape(), pytest.raises(blasad.TapeError, match="a tape is recording"):
        blasad.set_backend(library("scipy")._name)

    def elsewhere() -> None:
        with pytest.raises(blasad.TapeError, match="a tape is recording"):
            blasad.set_backend(None)

    with Tape():
        in_thread(elsewhere)


@pytest.mark.parametrize("package", ["scipy", "numpy"])
def test_backend_of_the_environment(package):
    path = library(package)._name
    script = "import blasad, test_errors; print(blasad.backend.describe_backend()[0]); assert test_errors.works()"
    assert run_python(script, BLASAD_BACKEND=path).stdout.strip() == path


def test_backend_of_the_environment_that_is_none():
    done = run_python("import blasad", BLASAD_BACKEND="/nowhere/libblas.so")
    assert done.returncode != 0
    assert "BackendError" in done.stderr
    assert "/nowhere/libblas.so" in done.stderr


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    return subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_wrap():
    real = real_address("scipy", "scipy_dgemm_")
    first = blasad.wrap("dgemm_", real)
    assert first == blasad.wrap("dgemm_", real)
    assert first not in (real, blasad.address("dgemm_"))
    assert blasad.wrap("scipy_dgemm_", real) != first
    assert blasad.wrap("dgemm_", library("scipy").scipy_dgemm_) == first
    assert blasad.wrap("dgemm_", ffi.cast("void *", real)) == first
    assert blasad.wrap("dgemm_", real, integer_bits=32) == first


def test_wrap_refuses():
    real = real_address("scipy", "scipy_dgemm_")
    for arguments, error, pattern in (
        (("dgemm_", 0), ValueError, "NULL"),
        (("dgemm_", None), (TypeError, ValueError), "."),
        (("dgemm_", "here"), TypeError, "no address"),
        (("dgemm_", blasad.address("dgemm_")), ValueError, "recording pointer"),
        (("dgemm_", blasad.wrap("dgemm_", real)), ValueError, "recording pointer"),
        (("nonsense_", real), ValueError, "no entry 'nonsense_'"),
        (("sgemm_", real), ValueError, "scipy_dgemm_"),
        (("cblas_dgemm", real), ValueError, "scipy_dgemm_"),
    ):
        with pytest.raises(error, match=pattern):
            blasad.wrap(*arguments)
    with pytest.raises(blasad.BackendError, match="32-bit integers, not 64"):
        blasad.wrap("dgemm_", real, integer_bits=64)
    with pytest.raises(ValueError, match="16 bits"):
        blasad.wrap("dgemm_", real, integer_bits=16)


def test_wrap_asks_the_library_for_its_width():
    """The name says 32 bits, the library has 64: the library is right."""
    pointer = blasad.wrap("dgemm_", real_address("numpy", "scipy_dgemm_64_"))
    b = Buffers()
    one = np.array([1], np.int64)
    number, zero = np.array([1.0]), np.array([0.0])
    function = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_void_p] * 11)(pointer)
    with Tape() as tape:
        b.annotate(tape)
        n = one.ctypes.data
        arguments = [n, n, n, number.ctypes.data, b.x["A"].ctypes.data, n, b.x["B"].ctypes.data, n, zero.ctypes.data]
        function(b"N", b"N", *arguments, b.x["C"].ctypes.data, n)
    assert b.x["C"][0] == b.x["A"][0] * b.x["B"][0]
    assert (tape[0].dims, tape[0].symbol) == ({"m": 1, "n": 1, "k": 1}, "dgemm_")


def test_wrapped_function_of_a_program_of_its_own():
    """A function that is in no BLAS library: the name says how it is called, and it serves the adjoint."""
    calls = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_void_p] * 11)
    real = kind(real_address("scipy", "scipy_dgemm_"))

    @kind
    def counting(*arguments: Any) -> None:
        calls.append(arguments[0])
        real(*arguments)

    b = Buffers()
    pointer = blasad.wrap("dgemm_", counting)
    step = {"call": "dgemm", "transa": "N", "transb": "N", "m": 2, "n": 2, "k": 2, "alpha": 1.0}
    step |= {"a": "A", "lda": 2, "b": "B", "ldb": 2, "beta": 0.0, "c": "C", "ldc": 2}
    with Tape() as tape:
        b.annotate(tape)
        Road("bare", "{}_", "scipy", pointer).call(step, place(b.x))
    assert len(calls) == 1
    tape.reverse()
    assert len(calls) == 3
    assert not b.dx["C"].any()


def test_what_a_recorded_function_calls_is_part_of_it():
    """A wrapped function may call BLAS itself; the tape has the program's call. It cannot be closed meanwhile."""
    b, said = Buffers(), []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_void_p] * 11)
    real = kind(blasad.address("dgemm_"))

    @kind
    def inner(*arguments: Any) -> None:
        for use in (lambda: tape.__exit__(None, None, None), tape.close, tape.reverse):
            try:
                use()
            except blasad.TapeError as error:
                said.append(str(error))
        real(*arguments)
        real(*arguments)

    step = {"call": "dgemm", "transa": "N", "transb": "N", "m": 2, "n": 2, "k": 2, "alpha": 1.0}
    step |= {"a": "A", "lda": 2, "b": "B", "ldb": 2, "beta": 0.0, "c": "C", "ldc": 2}
    tape = Tape()
    with tape:
        b.annotate(tape)
        Road("bare", "{}_", "scipy", blasad.wrap("dgemm_", inner)).call(step, place(b.x))
        b.gemm("D", "A", "B")
    assert len(tape) == 2
    assert len(said) == 3
    assert bits(b.x["C"]) == bits(b.x["D"])


FAKES = {
    "no sgemm": ("void dgemm_(void) {}", "has no sgemm"),
    "no isamax": ("void sgemm_(void) {} void dgemm_(void) {} void cgemm_(void) {} void zgemm_(void) {}", "no isamax"),
}


@pytest.mark.parametrize("fake", FAKES)
def test_set_backend_refuses_half_a_blas(fake, tmp_path, backend):
    """And puts nothing in its place: the one before goes on. As an implementation to wrap it will do."""
    source, pattern = FAKES[fake]
    path = tmp_path / "libfake.so"
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    command = [*compiler.split(), "-shared", "-fPIC", "-x", "c", "-", "-o", path]
    subprocess.run(command, input=source.encode(), check=True, timeout=60)
    with pytest.raises(blasad.BackendError, match=pattern):
        blasad.set_backend(path)
    assert works()
    function = ctypes.CDLL(str(path)).dgemm_
    pointer = blasad.wrap("dgemm_", function)
    assert pointer == blasad.wrap("dgemm_", function, integer_bits=32)
    assert pointer != blasad.wrap("dgemm_", function, integer_bits=64)


def test_no_blas_behind_is_said_before_the_program_ends():
    """As when a library lacks a symbol: there is nothing that could be computed instead. In a process of its own."""
    done = run_python(
        "import ctypes, sys\n"
        f"library = ctypes.CDLL({str(library_of_blasad())!r})\n"
        "library.blasad_address.restype = ctypes.c_void_p\n"
        "ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(library.blasad_address(b'dgemm_'))(*[(ctypes.c_double * 4)()] * 13)\n"
    )
    assert done.returncode != 0
    assert "BLASAD_BACKEND" in done.stderr


def library_of_blasad() -> str:
    return os.path.join(os.path.dirname(os.path.realpath(blasad._core.__file__)), "libblasad.so")


def test_in_process_helper_fails_when_the_process_does():
    with pytest.raises(AssertionError, match="told so"):
        in_process("raise SystemExit('told so')")
