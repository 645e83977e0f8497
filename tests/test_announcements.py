"""What a program says of memory that no hook sees: tape.assigned, tape.forget, tape.record (section 7)."""

import contextlib
import ctypes
import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from memory_guard import bits
from roads import gemm

import blasad
from blasad import Const, Duplicated, Forward, Reverse, Tape, autodiff, current_tape, ffi

N = 3
Array = np.ndarray


class Matrices:
    """Square matrices in column-major memory, `x` as the calls take them and `[name]` as matrices, with shadows."""

    def __init__(self, names: str = "ABCHR", dtype: object = np.float64) -> None:
        rng = np.random.default_rng(5)
        self.x = {n: rng.uniform(-1, 1, N * N).astype(dtype) for n in names}
        self.dx = {n: rng.uniform(-1, 1, N * N).astype(dtype) for n in names}
        self.start = {n: x.copy() for n, x in self.dx.items()}

    def __getitem__(self, name: str) -> Array:
        return self.x[name].reshape(N, N).T.copy()

    def shadow(self, name: str) -> Array:
        return self.dx[name].reshape(N, N).T.copy()

    def before(self, name: str) -> Array:
        return self.start[name].reshape(N, N).T.copy()

    def annotate(self, tape: Tape, names: str) -> None:
        for n in names:
            tape.duplicated(self.x[n], self.dx[n], name=n)

    def gemm(self, c: str, a: str, b: str, **changes: Any) -> None:
        gemm(self.x, c, a, b, order=N, **changes)


def told(tape: Tape) -> list[str]:
    return [call.routine for call in tape]


@contextmanager
def ends_with(tape: Tape, error: type[BaseException], pattern: str) -> Iterator[list[BaseException]]:
    """The block of a tape that runs undisturbed and raises when it is left. Yields where the error will be."""
    said: list[BaseException] = []
    tape.__enter__()
    try:
        yield said
    except BaseException:
        tape.__exit__(*sys.exc_info())
        raise
    with pytest.raises(error, match=pattern) as caught:
        tape.__exit__(None, None, None)
    said.append(caught.value)


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
            with pytest.raises(blasad.UnseenWriteError) if not announced else nothing(), tape:
                m.annotate(tape, "ABC")
                m.gemm("H", "A", "B")
                with tape.assigned(m.x["H"]) if announced else nothing():
                    m.x["H"][:] = np.arange(9.0)
                m.gemm("C", "A", "H")
        if announced:
            tape.reverse()
            assert np.allclose(m.shadow("A"), m.before("A") + m.before("C") @ m["H"].T)
            assert bits(m.dx["B"]) == bits(m.start["B"])


@contextmanager
def nothing() -> Iterator[None]:
    yield


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
    tape = Tape()
    with ends_with(tape, blasad.AliasError, "shares|overlap"):
        m.annotate(tape, "ABC")
        m.gemm("A", "A", "B")
        announcement = announcements(tape, m.x["H"])[what]()
        with announcement if isinstance(announcement, AbstractContextManager) else nothing():
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
        with nothing() if announced else pytest.raises(blasad.UnseenWriteError), tape:
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


# ---------------------------------------------------------------- record


def relu(m: Matrices, tape: Tape, out: str = "R", x: str = "H", **functions: Any) -> None:
    """Between two products, announced: R <- max(H, 0)."""
    functions = {"vjp": lambda i, _o, d: d[0] * (i[0] > 0), "jvp": lambda i, _o, d: d[0] * (i[0] > 0), **functions}
    with tape.record(m.x[x], m.x[out], **functions):
        np.maximum(m.x[x], 0, out=m.x[out])


def two_products(m: Matrices, between: Callable[[], None]) -> None:
    m.gemm("H", "A", "B")
    between()
    m.gemm("C", "R", "B")


def reverse_of_two_products(m: Matrices, slope: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Shadows of A and B, by hand."""
    g = m.before("C")
    gh = g @ m["B"].T * slope(m["H"])
    return m.before("A") + gh @ m["B"].T, m.before("B") + m["R"].T @ g + m["A"].T @ gh


def step(h: Array) -> Array:
    return (h > 0).astype(float)


def test_record_in_reverse():
    m = Matrices()
    with Tape() as tape:
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape))
    assert told(tape) == ["dgemm", "record", "dgemm"]
    assert tape.assumptions == []
    assert tape[2].operands[0].activity == "scratch"
    for _ in range(2):
        for n, dx in m.dx.items():
            dx[:] = m.start[n]
        tape.reverse()
        da, db = reverse_of_two_products(m, step)
        assert np.allclose(m.shadow("A"), da)
        assert np.allclose(m.shadow("B"), db)
        assert not m.dx["C"].any()


def test_record_in_forward():
    m = Matrices()
    with Tape(Forward) as tape:
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape))
    dh = m.before("A") @ m["B"] + m["A"] @ m.before("B")
    assert np.allclose(m.shadow("C"), (dh * step(m["H"])) @ m["B"] + m["R"] @ m.before("B"))


@pytest.mark.parametrize("mode", [Reverse, Forward])
def test_record_of_many(mode):
    """Several inputs and outputs with strides, types and an input that has no derivative: what the functions get."""
    p, q = np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.full((2, 3), 0.5, np.float32)
    c = np.array(3.0)
    y, z = np.zeros((4, 3), order="F"), np.zeros(5)[::-2]
    dp, dq, dy, dz = (np.ones_like(x) for x in (p, q, y, z))
    dz = np.full(5, 2.0)[::-2]
    seen: list[list[Array]] = []

    def look(*groups: tuple[Array, ...]) -> None:
        """They are valid during the call only."""
        assert not any(x.flags.writeable for group in groups for x in group)
        assert [x.strides for x in groups[0] + groups[1]] == [x.strides for x in (p, q, c, y, z)]
        seen.extend([x.copy() for x in group] for group in groups)

    def vjp(inputs: tuple[Array, ...], outputs: tuple[Array, ...], douts: tuple[Array, ...]) -> list[Array | None]:
        look(inputs, outputs, douts)
        return [2 * douts[0].T + douts[1].sum() * 1, None, None]

    def jvp(inputs: tuple[Array, ...], outputs: tuple[Array, ...], dinputs: tuple[Array, ...]) -> tuple[Array, None]:
        look(inputs, outputs, dinputs)
        return 2 * dinputs[0].T, None

    with Tape(mode, undeclared="constant") as tape:
        for name, x, dx in (("p", p, dp), ("q", q, dq), ("y", y, dy), ("z", z, dz)):
            tape.duplicated(x, dx, name=name)
        with tape.record([p, q, c], (y, z), vjp, jvp):
            y[:] = 2 * p.T
            z[:] = p.sum()
    if mode is Reverse:
        assert seen == []
        tape.reverse()
    (vp, vq, vc), (vy, vz), shadows = seen
    assert np.array_equal(vp, np.arange(12.0).reshape(3, 4))
    assert (vq.dtype, vq.shape, vc.shape, float(vc)) == (np.float32, (2, 3), (), 3.0)
    assert np.array_equal(vy, 2 * p.T)
    assert vz.tolist() == [66] * 3
    if mode is Reverse:
        assert [x.tolist() for x in shadows] == [np.ones((4, 3)).tolist(), [2.0] * 3]
        assert np.array_equal(dp, np.full((3, 4), 1 + 2 + 6))
        assert not dy.any()
        assert not dz.any()
        assert (dq == 1).all()
    else:
        assert np.array_equal(shadows[0], np.ones((3, 4)))
        assert not shadows[2].any()
        assert np.array_equal(dy, np.full((4, 3), 2))
        assert not dz.any()


@pytest.mark.parametrize("result", ["fresh", "the shadow itself", "a column of something", "broadcast", "reversed"])
def test_what_vjp_returns_may_be_any_array(result):
    x, y, dx, dy = np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), np.arange(6.0).reshape(2, 3)
    seed = dy.copy()

    def vjp(_i: object, _o: object, douts: tuple[Array]) -> Array:
        (g,) = douts
        return {
            "fresh": lambda: g.copy(order="F"),
            "the shadow itself": lambda: g,
            "a column of something": lambda: np.repeat(g, 2, axis=1)[:, ::2],
            "broadcast": lambda: np.broadcast_to(g[0], (2, 3)),
            "reversed": lambda: g[:, ::-1].copy()[:, ::-1],
        }[result]()

    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.duplicated(y, dy)
        with tape.record([x], [y], vjp):
            y[:] = x
    tape.reverse()
    assert np.array_equal(dx, 1 + (seed if result != "broadcast" else np.broadcast_to(seed[0], (2, 3))))
    assert not dy.any()


def test_an_array_that_is_input_and_output():
    """In place: the values before and after, and the shadow is consumed before the result is added."""
    m = Matrices()
    old = m.x["A"].copy()

    def vjp(inputs: tuple[Array], outputs: tuple[Array], douts: tuple[Array]) -> Array:
        assert np.array_equal(inputs[0], old)
        assert np.array_equal(outputs[0], old**2)
        return 2 * inputs[0] * douts[0]

    with Tape() as tape:
        m.annotate(tape, "ABC")
        with tape.record(m.x["A"], m.x["A"], vjp):
            m.x["A"] **= 2
        m.gemm("C", "A", "B")
    tape.reverse()
    g = m.before("A") + m.before("C") @ m["B"].T
    assert np.allclose(m.shadow("A"), 2 * old.reshape(N, N).T * g)


def test_blas_inside_is_not_recorded():
    m = Matrices()
    with Tape() as tape:
        m.annotate(tape, "ABC")
        with tape.record([m.x["A"], m.x["B"]], m.x["C"], lambda i, o, d: (d[0], None)):
            m.gemm("H", "A", "B")
            m.gemm("C", "H", "A")
        assert told(tape) == ["record"]
    tape.reverse()
    assert np.allclose(m.dx["A"], m.start["A"] + m.start["C"])
    assert bits(m.dx["B"]) == bits(m.start["B"])


@pytest.mark.parametrize(
    ("returned", "error", "pattern"),
    [
        (np.ones(8), ValueError, r"vjp returned for input 1 has shape \(8,\), that input \(9,\)"),
        (np.ones(9, np.float32), TypeError, "vjp returned for input 1 has dtype float32, that input float64"),
        (3.0, TypeError, "vjp returned for input 1 is a float, not an array of float64 or None"),
        ((np.ones(9), np.ones(9)), TypeError, "vjp returned 2 of them.*each of the 1 inputs"),
        ([], TypeError, "vjp returned 0 of them"),
    ],
)
def test_what_vjp_may_not_return(returned, error, pattern):
    m = Matrices()
    with Tape() as tape:
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape, vjp=lambda *_: returned))
    with pytest.raises(error, match=pattern) as caught:
        tape.reverse()
    assert "partial" in caught.value.__notes__[0]


def test_several_inputs_need_several_results():
    x = np.ones(9), np.ones(9), np.ones(9)
    with Tape() as tape:
        tape.duplicated(x[0], np.zeros(9))
        with tape.record(x[:2], x[2], lambda *_: np.ones(9)):
            x[2][:] = 3
    with pytest.raises(TypeError, match=r"vjp returned a ndarray; .*each of the 2 inputs"):
        tape.reverse()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_vjp(error):
    """Comes out of reverse(), as it was raised; the tape can replay again."""
    m, fail = Matrices(), [True]

    def vjp(inputs: tuple[Array], _o: object, douts: tuple[Array]) -> Array:
        if fail[0]:
            raise error("mine")
        return douts[0] * (inputs[0] > 0)

    with Tape() as tape:
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape, vjp=vjp))
    for _ in range(2):
        with pytest.raises(error, match="mine") as caught:
            tape.reverse()
        assert [note for note in caught.value.__notes__ if "partial" in note] == caught.value.__notes__
        assert caught.traceback[-1].name == "vjp"
    fail[0] = False
    for n, dx in m.dx.items():
        dx[:] = m.start[n]
    tape.reverse()
    assert np.allclose(m.shadow("A"), reverse_of_two_products(m, step)[0])


def test_an_exception_in_jvp():
    """Never disturbs the program: comes out of the tape's block, and whenever the tape is used (11)."""
    m, tape, after = Matrices(), Tape(Forward), []

    def jvp(*_: object) -> Array:
        raise ZeroDivisionError("mine")

    with ends_with(tape, ZeroDivisionError, "mine") as caught:
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape, jvp=jvp))
        after.append(m["C"])
    assert np.allclose(after[0], m["R"] @ m["B"])
    with pytest.raises(ZeroDivisionError) as again:
        tape.__exit__(None, None, None)
    assert again.value is caught[0]


def test_without_a_jvp():
    m, tape = Matrices(), Tape(Forward)
    with ends_with(tape, blasad.NoDerivativeError, "no jvp"):
        m.annotate(tape, "ABC")
        two_products(m, lambda: relu(m, tape, jvp=None))
    with Tape(Forward, undeclared="constant") as tape:  # of what is constant it is not needed
        m.annotate(tape, "C")
        relu(m, tape, jvp=None)


def test_an_exception_in_the_kernel():
    """Passes; if the program catches it, the tape knows that something was written."""
    m, tape = Matrices(), Tape()

    def kernel() -> None:
        with tape.record(m.x["A"], m.x["C"], lambda *_: None):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), tape:
        kernel()
    tape = Tape()
    with ends_with(tape, blasad.TapeError, r"tape\.record was left by an error"):
        m.annotate(tape, "ABC")
        with pytest.raises(ZeroDivisionError):
            kernel()
    assert all(bits(dx) == bits(m.start[n]) for n, dx in m.dx.items())


def test_arguments_of_record():
    x = np.ones(3)
    with Tape() as tape:
        for vjp, jvp in ((None, None), (3, None), (len, "no")):
            with pytest.raises(TypeError, match=r"(vjp|jvp) is a function, not a "):
                tape.record(x, x, vjp, jvp)
        with pytest.raises(ValueError, match="output 2 of record is a pointer without a size"):
            tape.record(x, [x, ffi.cast("double *", x.ctypes.data)], len)
        with pytest.raises(ValueError, match="the output of record has stride 0"):
            tape.record([x], np.broadcast_to(1.0, 3), len)
    assert len(tape) == 0


def test_lives_of_functions_and_results():
    """The functions live as long as a tape needs them, results until the next ones or the end of reverse()."""

    class Function:
        def __init__(self) -> None:
            self.returned: list[weakref.ref[Array]] = []

        def __call__(self, _i: object, _o: object, douts: tuple[Array]) -> Array:
            assert not any(r() is not None for r in self.returned)
            result = douts[0].copy()
            self.returned.append(weakref.ref(result))
            return result

    m, function = Matrices(), Function()
    alive = weakref.ref(function)
    with Tape() as outer, Tape() as tape:
        m.annotate(tape, "ABC")
        for _ in range(3):
            relu(m, tape, vjp=function)
            relu(m, tape, "C", "A", vjp=function)
    tape.reverse()
    assert [r() for r in function.returned] == [None] * 3
    del function
    gc.collect()
    assert alive() is not None
    tape.close()
    gc.collect()
    assert alive() is not None  # the outer one recorded it as well
    outer.close()
    assert alive() is None


def test_the_functions_of_an_abandoned_tape_end_with_it():
    m = Matrices()
    alive = weakref.ref(vjp := lambda *_: None)
    with Tape() as tape:
        m.annotate(tape, "A")
        relu(m, tape, "C", "A", vjp=vjp)
    del vjp, tape
    gc.collect()
    assert alive() is None


# ---------------------------------------------------------------- relu between two products, three ways


def test_relu_unannounced():
    """What NumPy computes looks like a constant: the cut is an assumption, and in place a write that nobody saw."""
    m = Matrices()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Tape() as tape:
            m.annotate(tape, "ABC")
            two_products(m, lambda: np.copyto(m.x["R"], np.maximum(m.x["H"], 0)))
    assert [w.category for w in said] == [blasad.ActivityWarning]
    assert "operand a (3 x 3" in str(said[0].message)
    assert [(a.call.index, a.operand.name) for a in tape.assumptions] == [(1, "a")]
    assert "assumed" in str(tape)
    tape = Tape()
    with ends_with(tape, blasad.UnseenWriteError, r"tape\.record"):
        m.annotate(tape, "ABC")
        m.gemm("H", "A", "B")
        np.maximum(m.x["H"], 0, out=m.x["H"])
        m.gemm("C", "H", "B")


def test_relu_recorded_against_differences():
    """Also its second derivative, with a vjp that is made of a product with a diagonal mask."""
    m = Matrices()

    def f(c: Array, a: Array, b: Array) -> None:
        m.x |= {"A": a, "B": b, "C": c}
        tape = current_tape()
        if tape is None:
            two_products(m, lambda: np.copyto(m.x["R"], m.x["H"] * (m.x["H"] > 0)))
        else:
            two_products(m, lambda: relu(m, tape, vjp=masked, jvp=masked))

    arguments = [Duplicated(m.x[n].copy(), np.zeros(N * N)) for n in "CAB"]
    blasad.check_gradients(f, *arguments, order=2)
    blasad.check_gradients(f, arguments[0], Const(arguments[1].primal), arguments[2], order=2)


def masked(inputs: tuple[Array], _o: object, shadows: tuple[Array]) -> Array:
    """The shadow times the mask, by BLAS, so that it has a derivative of its own."""
    n = inputs[0].size
    mask, out = np.diag((inputs[0] > 0).astype(float)).ravel(), np.empty(n)
    memory = {"M": mask, "G": shadows[0], "out": out}
    gemm(memory, "out", "M", "G", m=n, n=1, k=n, lda=n, ldb=n, ldc=n)
    return out


def test_a_vjp_that_is_no_blas_has_no_derivative_of_its_own():
    m = Matrices()

    def f(c: Array, a: Array, b: Array) -> None:
        m.x |= {"A": a, "B": b, "C": c}
        tape = current_tape()
        two_products(m, lambda: relu(m, tape) if tape else np.copyto(m.x["R"], np.maximum(m.x["H"], 0)))

    arguments = [Duplicated(m.x[n].copy(), np.zeros(N * N)) for n in "CAB"]
    blasad.check_gradients(f, *arguments)
    with pytest.raises(blasad.NoDerivativeError, match="BLAS"):
        blasad.check_gradients(f, *arguments, order=2)


# ---------------------------------------------------------------- under two tapes


def second_order(program: Callable[[Matrices, Tape], None], names: str = "ABC", scratch: str = "HR") -> None:
    """Forward over reverse of a program, and reverse over reverse, against differences of its gradient."""
    rng = np.random.default_rng(8)
    v = {n: rng.uniform(-1, 1, N * N) for n in names}

    def gradient(shift: float) -> dict[str, Array]:
        m = Matrices(names + scratch)
        for n in names:
            m.x[n] += shift * v[n]
        with Tape(undeclared="constant") as tape:
            m.annotate(tape, names)
            program(m, tape)
        tape.reverse()
        return m.dx

    high, low = gradient(1e-5), gradient(-1e-5)
    wanted = {n: (high[n] - low[n]) / 2e-5 for n in names}

    def nested(mode: Any, seeds: dict[str, tuple[Array, Array]]) -> Matrices:
        m = Matrices(names + scratch)
        with Tape(mode, undeclared="constant") as outer:
            for n in names:
                outer.duplicated(m.x[n], seeds[n][0], name=n)
                outer.duplicated(m.dx[n], seeds[n][1], name=f"d{n}")
            with Tape(undeclared="constant") as inner:
                m.annotate(inner, names)
                program(m, inner)
            inner.reverse()
            inner.close()
        str(outer)
        assert all(call.flops >= 0 for call in outer)
        if mode is Reverse:
            outer.reverse()
        return m

    tangents = {n: (v[n].copy(), np.zeros(N * N)) for n in names}
    nested(Forward, tangents)
    for n in names:
        assert np.allclose(tangents[n][1], wanted[n], rtol=1e-7, atol=1e-8), n
    # <u, H v> = <H u, v>: the adjoint of the gradient, seeded with u on the shadows
    u = {n: rng.uniform(-1, 1, N * N) for n in names}
    adjoints = {n: (np.zeros(N * N), u[n].copy()) for n in names}
    nested(Reverse, adjoints)
    left = sum(np.dot(u[n], wanted[n]) for n in names)
    right = sum(np.dot(adjoints[n][0], v[n]) for n in names)
    assert np.isclose(left, right, rtol=1e-7)


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


def test_record_under_two_tapes():
    def program(m: Matrices, tape: Tape) -> None:
        two_products(m, lambda: relu(m, tape, vjp=masked, jvp=masked))

    second_order(program)


def test_record_in_place_under_two_tapes():
    """Two operations whose vjps free their temporaries, which are then made anew at the same place."""

    def program(m: Matrices, tape: Tape) -> None:
        for _ in range(2):
            m.gemm("H", "A", "B")
            relu(m, tape, "H", "H", vjp=masked, jvp=masked)
            m.gemm("A", "H", "B", beta=0.25)
            relu(m, tape, "R", "A", vjp=masked, jvp=masked)
            m.gemm("C", "R", "B", beta=0.5)

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
