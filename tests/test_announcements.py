"""What a program says of memory that no hook sees (section 7): tape.assigned, tape.forget, and which tape is told."""

import contextlib
import ctypes
import gc
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
from matrices import Array, Matrices, N, ends_with, relu, second_order, told
from memory_guard import bits
from roads import gemm

import blasad
from blasad import Forward, Reverse, Tape, autodiff, current_tape, ffi

# ---------------------------------------------------------------- which tape


def test_current_tape():
    assert current_tape() is None
    with Tape() as outer:
        assert current_tape() is outer
        assert outer  # though it is empty
        with Tape(Forward) as inner:
            assert current_tape() is inner
            seen: list[object] = []
            thread = threading.Thread(target=lambda: seen.append(current_tape()))
            thread.start()
            thread.join()
            assert seen == [None]
        assert current_tape() is outer
    assert current_tape() is None
    autodiff(Reverse, lambda: seen.append(current_tape()))
    assert isinstance(seen[1], Tape)


def test_current_tape_of_tapes_that_end_otherwise():
    """Closed in its block, left by an exception, or garbage."""
    with Tape() as tape:
        tape.close()
        assert current_tape() is None
    with pytest.raises(ZeroDivisionError), Tape():
        1 / 0  # noqa: B018
    assert current_tape() is None
    Tape().__enter__()
    gc.collect()
    assert current_tape() is None
    with Tape() as tape:
        assert current_tape() is tape


def announcements(tape: Tape, x: Array) -> dict[str, Callable[[], object]]:
    return {
        "assigned": lambda: tape.assigned(x),
        "forget": lambda: tape.forget(x),
        "record": lambda: tape.record(x, x, lambda *_: None),
    }


@pytest.mark.parametrize("what", ["assigned", "forget", "record"])
def test_only_a_tape_that_records_this_thread(what):
    x, tape = np.ones(4), Tape()
    announce = announcements(tape, x)[what]
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            announce()
        except BaseException as error:
            failures.append(error)

    with pytest.raises(blasad.TapeError, match=rf"tape\.{what}.*own block.*current_tape"):
        announce()
    with tape:
        announce()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with Tape():
            announce()  # all tapes of the thread are told, whichever is asked
    assert [type(error) for error in failures] == [blasad.TapeError]
    with pytest.raises(blasad.TapeError, match="own block"):
        announce()
    tape.close()
    with pytest.raises(blasad.TapeError, match="closed"):
        announce()


# ---------------------------------------------------------------- assigned


def as_array(x: Array) -> tuple[object, dict[str, object]]:
    return x, {}


def as_bytes(x: Array) -> tuple[object, dict[str, object]]:
    return x.ctypes.data, {"nbytes": x.nbytes}


def as_elements(x: Array) -> tuple[object, dict[str, object]]:
    return ctypes.c_void_p(x.ctypes.data), {"count": x.size, "dtype": x.dtype}


def as_typed_pointer(x: Array) -> tuple[object, dict[str, object]]:
    return ffi.cast("double *", x.ctypes.data), {"count": x.size}


@pytest.mark.parametrize("kind", [as_array, as_bytes, as_elements, as_typed_pointer], ids=lambda f: f.__name__)
def test_assigned_in_reverse(kind):
    """Earlier calls keep the values that they saw; what was seeded for the new content ends there."""
    m = Matrices()
    old, fresh = m["B"], np.arange(9.0)
    x, size = kind(m.x["B"])
    with Tape() as tape:
        m.annotate(tape, "ABCR")
        m.gemm("C", "A", "B")
        with tape.assigned(x, **size):
            m.x["B"][:] = fresh
        m.gemm("R", "A", "B")
    assert told(tape) == ["dgemm", "assigned", "dgemm"]
    assert tape[1].symbol == "tape.assigned"
    assert tape.assumptions == []
    tape.reverse()
    gc_, gr = m.before("C"), m.before("R")
    assert np.allclose(m.shadow("A"), m.before("A") + gc_ @ old.T + gr @ m["B"].T)
    assert np.allclose(m.shadow("B"), m["A"].T @ gc_)
    assert m.x["B"].tolist() == fresh.tolist()


def test_assigned_in_forward():
    m = Matrices()
    with Tape(Forward) as tape:
        m.annotate(tape, "ABCR")
        with tape.assigned(m.x["B"]):
            m.x["B"][:] = np.arange(9.0)
        m.gemm("R", "A", "B")
    assert not m.dx["B"].any()
    assert np.allclose(m.shadow("R"), m.before("A") @ m["B"])


def test_a_part_assigned():
    """Exactly the elements of a strided array lose their derivative."""
    m = Matrices()
    part = m.x["B"].reshape(N, N)[::2, 1:]
    with Tape() as tape:
        m.annotate(tape, "ABC")
        with tape.assigned(part):
            part[:] = 2
        m.gemm("C", "A", "B")
    tape.reverse()
    expected = m.before("B") + m["A"].T @ m.before("C")
    expected.T[::2, 1:] = 0
    assert np.allclose(m.shadow("B"), expected)
    assert np.count_nonzero(m.shadow("B")) == 9 - part.size


def test_assigned_scratch_is_a_declared_constant():
    """Active scratch that gets fresh content; without the announcement it could not be told from a change in place."""
    for announced in (True, False):
        m = Matrices()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", blasad.ActivityWarning)
            tape = Tape()
            with pytest.raises(blasad.UnseenWriteError) if not announced else nullcontext(), tape:
                m.annotate(tape, "ABC")
                m.gemm("H", "A", "B")
                with tape.assigned(m.x["H"]) if announced else nullcontext():
                    m.x["H"][:] = np.arange(9.0)
                m.gemm("C", "A", "H")
        if announced:
            tape.reverse()
            assert np.allclose(m.shadow("A"), m.before("A") + m.before("C") @ m["H"].T)
            assert bits(m.dx["B"]) == bits(m.start["B"])


def test_an_exception_in_assigned_passes_and_the_end_is_announced():
    m = Matrices()
    with Tape() as tape:
        m.annotate(tape, "ABC")
        with contextlib.suppress(KeyError), tape.assigned(m.x["B"]):
            m.x["B"][:4] = 7
            raise KeyError
        m.gemm("C", "A", "B")
    tape.reverse()
    assert not m.dx["B"].any()
    assert np.allclose(m.shadow("A"), m.before("A") + m.before("C") @ m["B"].T)


def test_assigned_without_an_announced_end():
    """What is written after the block is not announced."""
    m = Matrices()
    tape = Tape()
    with ends_with(tape, blasad.UnseenWriteError, r"B .*changed"):
        m.annotate(tape, "ABC")
        with tape.assigned(m.x["B"]):
            m.x["B"][:] = 7
        m.x["B"][0] = 8
        m.gemm("C", "A", "B")


BAD_MEMORY: list[tuple[object, dict[str, Any], type[Exception], str]] = [
    (np.arange(3), {}, TypeError, "int64"),
    ("text", {}, TypeError, "str"),
    (8, {}, ValueError, "without a size"),
    (0, {"nbytes": 8}, ValueError, "NULL"),
    (np.broadcast_to(1.0, 3), {}, ValueError, "stride 0"),
]


@pytest.mark.parametrize(("x", "size", "error", "pattern"), BAD_MEMORY)
def test_what_is_no_memory(x, size, error, pattern):
    with Tape() as tape:
        with pytest.raises(error, match=pattern):
            tape.forget(x, **size)
        with pytest.raises(error, match=pattern), tape.assigned(x, **size):
            pytest.fail("the block ran")
        if not size:
            with pytest.raises((error, TypeError), match=r"input.* of record"):
                tape.record(x, np.ones(3), lambda *_: None)
    assert len(tape) == 0


@pytest.mark.parametrize("what", ["assigned", "forget", "record"])
def test_what_was_found_before_waits_for_the_end(what):
    """Section 11: the program is not disturbed, by an announcement either."""
    m, ran = Matrices(), []
    with Tape() as closed:
        closed.close()
    tape = Tape()
    with ends_with(tape, blasad.AliasError, "shares|overlap"):
        m.annotate(tape, "ABC")
        m.gemm("A", "A", "B")
        announcement = announcements(tape, m.x["H"])[what]()
        with announcement if isinstance(announcement, AbstractContextManager) else nullcontext():
            ran.append(what)
        with Tape(Forward) as inner, inner.record(m.x["R"], m.x["R"], lambda *_: None):
            pass
    assert ran == [what]


# ---------------------------------------------------------------- forget


@pytest.mark.parametrize("mode", [Reverse, Forward])
def test_forget(mode):
    """A second life of the same memory is constant and an assumption; unannounced it is a write that nobody saw."""
    for announced in (False, True):
        m = Matrices()
        tape = Tape(mode, undeclared="constant")
        with nullcontext() if announced else pytest.raises(blasad.UnseenWriteError), tape:
            m.annotate(tape, "ABC")
            m.gemm("H", "A", "B")
            if announced:
                tape.forget(m.x["H"])
            m.x["H"][:] = np.arange(9.0)  # what malloc gave to somebody else
            m.gemm("C", "A", "H")
    assert told(tape) == ["dgemm", "forget", "dgemm"]
    assert [(a.operand.name, a.call.index) for a in tape.assumptions] == [("b", 2)]
    if mode is Forward:
        assert np.allclose(m.shadow("C"), m.before("A") @ m["H"])
        return
    tape.reverse()
    assert np.allclose(m.shadow("A"), m.before("A") + m.before("C") @ m["H"].T)
    assert bits(m.dx["B"]) == bits(m.start["B"])


def test_forget_of_annotated_memory_is_refused():
    m = Matrices()
    with Tape() as outer, Tape() as tape:
        m.annotate(tape, "A")
        outer.const(m.x["B"], name="B")
        for name in "AB":
            with pytest.raises(ValueError, match=rf"{name} \(.*tape\.assigned"):
                tape.forget(m.x[name][3:])
        tape.forget(m.x["C"])


# ---------------------------------------------------------------- under two tapes


def test_assigned_under_two_tapes():
    def program(m: Matrices, tape: Tape) -> None:
        m.gemm("H", "A", "B")
        m.gemm("C", "H", "A", beta=0.5)
        with tape.assigned(m.x["B"]):
            m.x["B"][:] = np.arange(9.0)
        m.gemm("C", "B", "H", beta=1.0)

    second_order(program)


def test_forget_under_two_tapes():
    def program(m: Matrices, tape: Tape) -> None:
        m.gemm("H", "A", "B")
        m.gemm("R", "H", "A")
        tape.forget(m.x["H"])
        m.x["H"][:] = np.arange(9.0)
        m.gemm("C", "R", "H", beta=0.5)

    second_order(program)


# ---------------------------------------------------------------- the listing


def test_listing():
    m = Matrices()
    with Tape(undeclared="constant") as tape:
        tape.duplicated(m.x["A"][:4], m.dx["A"][:4], name="A")
        m.annotate(tape, "C")
        m.gemm("H", "A", "B")
        with tape.assigned(m.x["C"]):
            m.x["C"][:] = 0
        m.gemm("C", "H", "B", beta=1.0)
        tape.forget(m.x["H"])
        relu(m, tape, "R", "C")
    assert told(tape) == ["dgemm", "assigned", "dgemm", "forget", "record"]
    product, assigned, use, forget, record = tape
    assert [o.activity for o in product.operands] == ["parts", "undeclared", "scratch"]
    assert [o.activity for o in use.operands] == ["scratch", "undeclared", "duplicated"]
    assert (assigned.flops, assigned.flags, assigned.scalars, assigned.bytes) == (0, {}, {}, 72)
    assert [(o.address, o.role) for o in assigned.operands] == [(m.x["C"].ctypes.data, "out")]
    assert [(o.address, o.activity) for o in forget.operands] == [(m.x["H"].ctypes.data, "scratch")]
    assert record.operands == ()
    rows = str(tape).splitlines()
    assert rows[1].split()[7:10] == ["a:parts,assumed", "b:assumed", "c:scratch"]
    assert rows[2].split()[1] == "assigned"
    assert rows[2].endswith("tape.assigned")
    assert "scratch:" in rows[-1]
    assert tape._repr_html_().count("<tr>") == 6


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_listing_of_an_outer_tape(dtype):
    """It has the adjoints, and the arithmetic around them, as calls; each can be looked at."""
    m = Matrices("ABCs", dtype)
    with Tape(undeclared="constant") as outer:
        for n in "ABCs":
            outer.duplicated(m.x[n], np.zeros_like(m.x[n]), name=n)
            outer.duplicated(m.dx[n], np.zeros_like(m.x[n]), name=f"d{n}")
        with Tape() as inner:
            m.annotate(inner, "ABCs")
            m.gemm("C", "A", "B", alpha="s", beta="s[1]", transa="C")
        inner.reverse()
    letter = np.dtype(dtype).char.replace("f", "s").replace("F", "c").replace("D", "z")
    routines = set(told(outer))
    assert {letter + r for r in ("gemm", "mdot", "mscal")} <= routines
    factor = 4 if letter in "cz" else 1
    assert {c.flops for c in outer if c.routine.endswith("gemm")} == {2 * factor * N**3}
    for call in outer:
        assert call.flops >= 0
        assert call.bytes > 0
        if call.routine == letter + "mdot":
            assert call.flops == call.dims["m"] * call.dims["n"] * (8 if factor == 4 else 2)
    assert len(str(outer).splitlines()) == len(outer) + 2


# ---------------------------------------------------------------- options


def test_copies_follow():
    m = Matrices()
    with Tape(copies="follow") as tape:
        m.annotate(tape, "ABC")
        copy = {**m.x, "T": m.x["A"].copy()}
        gemm(copy, "C", "T", "B", order=N)
    assert told(tape) == ["copy", "dgemm"]
    assert tape.assumptions == []
    tape.reverse()
    assert np.allclose(m.shadow("A"), m.before("A") + m.before("C") @ m["B"].T)
    m, tape = Matrices(), Tape(undeclared="constant")
    with ends_with(tape, blasad.ActivityError, "cop"):
        m.annotate(tape, "ABC")
        gemm({**m.x, "T": m.x["A"].copy()}, "C", "T", "B", order=N)


def test_memory_limit():
    results = []
    for limit in (None, 0, 100, 2**40):
        m = Matrices()
        with Tape(memory_limit=limit) as tape:
            m.annotate(tape, "ABC")
            for _ in range(20):
                m.gemm("H", "A", "B")
                m.gemm("A", "H", "C", beta=0.5)
                m.gemm("C", "A", "H", beta=0.25)
        tape.reverse()
        results.append((tape.saved_bytes, *(bits(dx) for dx in m.dx.values())))
        tape.close()
    assert results[0][0] > 100
    assert results[1:] == results[:1] * 3
