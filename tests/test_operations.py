"""Operations of the program's own, which are no BLAS (section 7): tape.record."""

import gc
import warnings
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from matrices import Array, Matrices, N, ends_with, masked, relu, second_order, told, two_products
from memory_guard import bits
from roads import gemm

import blasad
from blasad import Const, Duplicated, Forward, Reverse, Tape, current_tape, ffi

# ---------------------------------------------------------------- record


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


def test_results_live_until_they_are_added():
    x, y, dx, seen = np.ones(3), np.ones(3), np.zeros(3), []

    def vjp(_i: object, _o: object, douts: tuple[Array]) -> Array:
        result = douts[0].copy()
        seen.append(weakref.ref(result, lambda _: seen.append(dx.tolist())))
        return result

    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.duplicated(y, np.array([1.0, 2.0, 3.0]))
        with tape.record(x, y, vjp):
            y[:] = x
    tape.reverse()
    assert seen[1] == [1.0, 2.0, 3.0]


def test_arrays_and_exceptions_do_not_live_longer_than_the_program_needs_them():
    class Mine(Exception):
        pass

    def vjp(*_: object) -> Array:
        raise Mine

    x, y = np.ones(3), np.ones(3)
    alive = [weakref.ref(x)]
    with Tape() as tape:
        tape.duplicated(y, np.ones(3))
        z = np.ones(3)
        tape.duplicated(z, np.ones(3))
        with tape.record([x, z], y, vjp):
            y[:] = x
    del x
    assert alive[0]() is None
    try:
        tape.reverse()
    except Mine as error:
        alive.append(weakref.ref(error))
    gc.collect()
    assert alive[1]() is None


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


def test_freed_results_of_vjp_under_two_tapes():
    """NumPy gives the memory of the last result to the next temporary: its first life has ended."""
    k = np.arange(1.0, 10.0)

    def linear(inputs: tuple[Array], _o: object, shadows: tuple[Array], flag: str) -> Array:
        fresh, out = k.copy(), np.empty(9)
        where.append(fresh.ctypes.data)
        gemm({"G": shadows[0], "K": fresh, "out": out}, "out", "G", "K", transb=flag, order=N)
        where.append(out.ctypes.data)
        return out

    def program(m: Matrices, tape: Tape) -> None:
        m.gemm("H", "A", "B")
        for x, y in (("H", "R"), ("R", "A"), ("A", "H")):
            functions = [lambda *a, flag=flag: linear(*a, flag) for flag in "TN"]
            with tape.record(m.x[x], m.x[y], *functions):
                m.x[y].reshape(N, N).T[:] = m[x] @ k.reshape(N, N).T
        m.gemm("C", "H", "B", beta=0.5)

    where: list[int] = []
    second_order(program)
    assert len(set(where)) < len(where)


def test_a_broadcast_result_under_two_tapes():
    m = Matrices()
    with Tape(Forward) as outer:
        for x in (m.x["A"], m.x["C"], m.dx["A"], m.dx["C"]):
            outer.duplicated(x, np.ones(9))
        with Tape() as tape:
            m.annotate(tape, "AC")
            relu(m, tape, "C", "A", vjp=lambda _i, _o, d: np.broadcast_to(d[0].sum(), 9), jvp=lambda i, o, d: d[0])
        with pytest.raises(blasad.NoDerivativeError):
            tape.reverse()
