"""gemm_batch and gemm_batch_strided: to a tape, the calls of gemm that they stand for."""

import contextlib
import ctypes
import re
from typing import Any

import numpy as np
import pytest
from oracles import Memory, Step, extended
from roads import DTYPE, FLAGS, real_address
from table import BATCHES, DECORATIONS
from test_rules import dyadic
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

NAMES = [name for name in blasad.backend.names() if re.search("|".join(BATCHES), name)]
ROOM = 40
ARRAYS = "transa transb m n k alpha a lda b ldb beta c ldc group_count group_size"
STRIDED = "transa transb m n k alpha a lda stridea b ldb strideb beta c ldc stridec batch_size"
# One group of two members and one of a single one; C of the first member is A of the second.
GROUPS = [
    {"transa": "N", "transb": "T", "m": 2, "n": 2, "k": 2, "alpha": -1.5, "beta": 0.5, "lda": 3, "ldb": 2, "ldc": 3},
    {"transa": "C", "transb": "N", "m": 1, "n": 3, "k": 2, "alpha": 0.5, "beta": -2.0, "lda": 2, "ldb": 3, "ldc": 3},
]
MEMBERS = [(0, "A", "B", "C"), (0, "C", "B[4]", "D[1]"), (1, "A[2]", "B[7]", "D[20]")]
APART = [(0, "A", "B", "C"), (0, "A", "B[4]", "D[1]")]  # as a BLAS with threads wants them
STRIDE = {"a": 7, "b": 1, "c": 9}


def test_every_name_is_there():
    expected = {d.format(letter + batch) for d in DECORATIONS for letter in "sdcz" for batch in BATCHES}
    assert set(NAMES) == expected


def letter_of(name: str) -> str:
    return re.search(r"([sdcz])gemm", name).group(1)  # type: ignore[union-attr]


def steps_of(name: str, layout: str) -> list[Step]:
    """The members as calls of gemm; their scalars are those of buffer S, by group."""
    by_value = "strided" in name and "cblas" in name and letter_of(name) in "sd"
    if "strided" in name:
        members = [(0, f"A[{STRIDE['a'] * i}]", f"B[{STRIDE['b'] * i}]", f"C[{STRIDE['c'] * i}]") for i in range(3)]
    else:
        members = MEMBERS
    out = []
    for group, a, b, c in members:
        step: Step = {"call": letter_of(name) + "gemm", "layout": layout}
        given = GROUPS[group] | {"a": a, "b": b, "c": c}
        if not by_value:
            given |= {"alpha": f"S[{group}]", "beta": f"T[{group}]"}
        out.append(step | {key: given[key] for key in ARRAYS.split()[:-2]})
    return out


def make(name: str, pointer: int, memory: Memory, layout: str, **changes: Any) -> None:
    """The call; `changes` are values of the last group, or of the only one."""
    cblas, strided, letter = "cblas" in name, "strided" in name, letter_of(name)
    bits = 64 if "64" in name else 32
    groups = [dict(g) for g in GROUPS[: 1 if strided else 2]]
    counts = {"group_count": changes.pop("group_count", 2), "batch_size": changes.pop("batch_size", 3)}
    order = changes.pop("number", {"row": 101, "col": 102}[layout])
    each = changes.pop("each", {})  # of every group
    members = changes.pop("members", MEMBERS)
    groups = [g | each for g in groups]
    groups[-1] |= changes
    kept: list[np.ndarray] = []
    given: list[Any] = []
    kinds: list[Any] = []

    def put(value: Any, kind: Any) -> None:
        given.append(value)
        kinds.append(kind)

    def address(x: np.ndarray) -> None:
        kept.append(x)
        put(x.ctypes.data, ctypes.c_void_p)

    def at(place: str) -> int:
        buffer, _, index = place.rstrip("]").partition("[")
        return memory[buffer].ctypes.data + int(index or 0) * memory[buffer].itemsize

    integer = f"i{bits // 8}"
    if cblas:
        put(order, ctypes.c_int)
    for key in (STRIDED if strided else ARRAYS).split():
        if key in ("a", "b", "c"):
            if strided:
                put(memory[key.upper()].ctypes.data, ctypes.c_void_p)
            else:
                address(np.array([at(m["abc".index(key) + 1]) for m in members], np.uintp))
        elif key in ("alpha", "beta"):
            if strided and cblas and letter in "sd":
                put(groups[0][key], ctypes.c_float if letter == "s" else ctypes.c_double)
            else:
                address(memory["S" if key == "alpha" else "T"])  # one a group
        elif key.startswith("trans"):
            letters = [g[key] for g in groups]
            numbers = [FLAGS["trans"].get(x, 119) for x in letters]
            if cblas and strided:
                put(numbers[0], ctypes.c_int)
            elif cblas:
                address(np.array(numbers, np.intc))
            else:
                put("".join(letters).encode(), ctypes.c_char_p)
        else:
            single = key in counts
            values = [counts[key]] if single else [2, 1] if key == "group_size" else None
            if values is None:
                values = [STRIDE[key[-1]]] if key.startswith("stride") else [g[key] for g in groups]
            if cblas and (strided or key == "group_count"):
                put(values[0], ctypes.c_int64 if bits == 64 else ctypes.c_int32)
            else:
                address(np.array(values, integer))
    ctypes.CFUNCTYPE(None, *kinds)(pointer)(*given)


def start(letter: str) -> Memory:
    memory = {n: dyadic(letter, ROOM, i) for i, n in enumerate("ABCD")}
    for n, key in (("S", "alpha"), ("T", "beta")):
        memory[n] = np.array([g[key] for g in GROUPS], DTYPE[letter])
    return memory


def layouts(name: str) -> list[str]:
    return ["col", "row"] if "cblas" in name else ["col"]


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize(("name", "layout"), [(name, layout) for name in NAMES for layout in layouts(name)])
def test_members_in_order(name, layout, mode, checked):
    """Memory and shadows are what the calls of gemm make of them, one after the other; exactly."""
    letter = letter_of(name)
    checked("gemm_batch" + "_strided" * ("strided" in name), letter, mode.name.lower())
    memory, shadow = start(letter), {n: dyadic(letter, x.size, 9) for n, x in start(letter).items()}
    plainly = {n: x.copy() for n, x in memory.items()}
    make(name, blasad.address(name), plainly, layout)
    steps, values, traces = steps_of(name, layout), extended(memory), []
    for step in steps:
        traces.append(Traced(step, values))
        values = traces[-1].after
    want = extended(shadow)
    for trace in reversed(traces) if mode is Reverse else traces:
        want = (trace.pull if mode is Reverse else trace.push)(want)
    with Tape(mode) as tape:
        for n, x in memory.items():
            tape.duplicated(x, shadow[n], name=n)
        make(name, blasad.address(name), memory, layout)
    assert [(call.routine, call.symbol) for call in tape] == [(letter + "gemm", name)] * 3
    if mode is Reverse:
        tape.reverse()
    for n, x in memory.items():
        assert np.array_equal(x, values[n]), n
        assert np.array_equal(x, plainly[n]), f"{n} without a tape"
    for n, x in shadow.items():
        assert np.array_equal(x, want[n]), f"shadow of {n}"


@pytest.mark.parametrize(
    ("package", "symbol", "name"),
    [
        ("scipy", "scipy_cblas_dgemm_batch", "cblas_dgemm_batch"),
        ("numpy", "scipy_cblas_dgemm_batch64_", "scipy_cblas_dgemm_batch64_"),
    ],
)
def test_wrapped(package, symbol, name):
    """Without a tape the library's own function is called, and with one the same comes out. OpenBLAS crashes below
    100 x 100 x 100 where it has no kernels for small matrices."""
    n, real = 101, real_address(package, symbol)
    pointer = blasad.wrap(name, real, integer_bits=64 if package == "numpy" else 32)
    results = []
    for road, recording in ((real, False), (pointer, False), (pointer, True)):
        memory = {x: dyadic("d", n * n + ROOM, i) for i, x in enumerate("ABCD")}
        memory |= {x: np.array([g[key] for g in GROUPS]) for x, key in (("S", "alpha"), ("T", "beta"))}
        size = {"m": n, "n": n, "k": n, "lda": n, "ldb": n, "ldc": n}
        tape = Tape(undeclared="constant")
        with tape if recording else contextlib.nullcontext():
            make(name, road, memory, "col", group_count=1, each=size, members=APART)
        results.append(memory)
        if recording:
            assert len(tape) == 2
    for x in results[0]:
        assert np.array_equal(results[1][x], results[0][x])
        assert np.array_equal(results[2][x], results[0][x])


BAD = {"transa": "X", "transb": "X", "m": -1, "n": -2, "k": -1, "lda": 0, "ldb": 0, "ldc": 0}


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in NAMES
        if n in ("cblas_dgemm_batch", "zgemm_batch_")
        or (n[-8:] == "strided_" and n[0] in "ds")
        or n == "cblas_cgemm_batch_strided64_"
    ],
)
@pytest.mark.parametrize("key", BAD)
def test_illegal_member(name, key, capfd):
    """One illegal argument, be it of the last group: no member is made, nothing recorded."""
    memory = start(letter_of(name))
    before = {n: x.copy() for n, x in memory.items()}
    number = (STRIDED if "strided" in name else ARRAYS).split().index(key) + 1 + ("cblas" in name)
    said = rf"gemm .*through {name}.*: argument {number} \({key}\) = "
    with pytest.raises(blasad.InvalidCallError, match=said), Tape() as tape:  # noqa: PT012
        for n, x in memory.items():
            tape.duplicated(x, np.zeros_like(x), name=n)
        make(name, blasad.address(name), memory, "col", **{key: BAD[key]})
    assert f"argument {number} had an illegal value" in capfd.readouterr().err
    for n, x in memory.items():
        assert np.array_equal(x, before[n])


def test_illegal_layout():
    memory = start("d")
    with pytest.raises(blasad.InvalidCallError, match=r"argument 1 \(layout\)"), Tape(undeclared="constant"):
        make("cblas_dgemm_batch", blasad.address("cblas_dgemm_batch"), memory, "col", number=103)


@pytest.mark.parametrize(
    ("name", "none"),
    [
        ("dgemm_batch_", {"group_count": 0}),
        ("cblas_dgemm_batch", {"group_count": 0}),
        ("cblas_zgemm_batch_strided", {"batch_size": 0}),
    ],
)
def test_no_members(name, none):
    memory = start(letter_of(name))
    with Tape(undeclared="error") as tape:
        make(name, blasad.address(name), memory, "col", **none)
    assert len(tape) == 0
    assert all(np.array_equal(x, memory[n]) for n, x in start(letter_of(name)).items())
