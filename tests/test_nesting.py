"""Tapes inside tapes (section 10): derivatives of derivatives, of programs, in any mixture of modes.

Random programs of gemm calls run under nests of tapes, two and three deep. An inner tape is replayed under the outer
ones, which have annotations of their own: of the program's memory, of the inner shadows, of parts of both. The oracle
differentiates the program's arithmetic node by node as often as it takes (`graph`).
"""

import contextlib
import math

import numpy as np
import pytest
from nests import Nest, Run, Writer, check_program, kind, product, whole
from roads import FORTRAN, gemm, place

import blasad
from blasad import Duplicated, Forward, Reverse, Tape, autodiff, ffi, lib
from blasad.activity import Mode
from blasad.errors import check

MODES = {"F": Forward, "R": Reverse}


def modes(letters: str) -> list[Mode]:
    """Outermost first: FR is forward over reverse."""
    return [MODES[x] for x in letters]


SECOND = ["FR", "RR", "RF", "FF"]
THIRD = ["RRR", "FRR", "FFR", "RFR", "RRF", "FRF", "RFF", "FFF"]


@pytest.mark.parametrize("nest", SECOND)
@pytest.mark.parametrize("letter", "sdcz")
def test_second_order(letter, nest):
    for seed in range(25):
        check_program(letter, seed, modes(nest), 5, [1, 1])


@pytest.mark.parametrize("nest", THIRD)
@pytest.mark.parametrize("letter", "sdcz")
def test_third_order(letter, nest):
    for seed in range(5):
        check_program(letter, seed, modes(nest), 3, [1, 1, 1])


@pytest.mark.parametrize("batches", [[1, 2], [2, 1], [2, 3]], ids=str)
@pytest.mark.parametrize("nest", SECOND)
def test_batches(nest, batches):
    for seed in range(6):
        check_program("dz"[seed % 2], 100 + seed, modes(nest), 4, batches)


@pytest.mark.parametrize("nest", SECOND)
@pytest.mark.parametrize("letter", "dz")
def test_nothing_is_assumed_of_blasads_own_memory(letter, nest):
    """What inner tapes keep, gather into and work in is no assumption of the outer ones, which know all that the
    program has."""
    for seed in range(15):
        check_program(letter, 200 + seed, modes(nest), 4, [1, 1], declared=True)


# ---------------------------------------------------------------- known derivatives


@pytest.mark.parametrize("nest", ["R", "F", *SECOND, *THIRD, "RRRRR", "FFFFF", "FRFRR", "RFRFR"])
def test_powers(nest):
    """y = x ** 6 at 2, by way of scratch, differentiated as often as there are tapes."""
    writer = Writer("d", 0)
    writer.memory |= {n: np.array([v]) for n, v in {"x": 2.0, "y": 0.0, "T": 0.0, "V": 0.0}.items()}
    body: list[object] = [product(*"Txx", 1), product(*"VTx", 1), product(*"TVx", 1)]
    body += [product(*"VTx", 1), product(*"yVx", 1)]
    names, result = ["x", "y"], "y"
    for depth, mode in enumerate(modes(nest[::-1])):
        layer = Nest(f"t{depth}", mode, True, body)
        layer.shadows = [whole(n, 1, f"{n}_{depth}") for n in names]
        writer.memory |= {f"{n}_{depth}": np.zeros(1) for n in names}
        writer.memory[f"{result if mode is Reverse else 'x'}_{depth}"][0] = 1
        result = f"x_{depth}" if mode is Reverse else f"{result}_{depth}"
        names += [f"{n}_{depth}" for n in names]
        body = [layer]
    Run(writer).nest(layer)
    assert writer.memory[result][0] == math.perm(6, len(nest)) * 2.0 ** (6 - len(nest))


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
def test_descent(mode):
    """Gradient descent, each step with a tape of its own that is closed before the next one is opened, so that the memory
    of one is the memory of the next; the length of the steps is a variable of the outer tape."""
    writer, steps = Writer("d", 0), 12
    size = {"x": 4, "r": 4, "A": 4, "I": 4, "rate": 1}
    for i in range(steps):
        size |= {f"dx{i}": 4, f"dr{i}": 4}
    writer.memory |= {n: writer.numbers(k) for n, k in size.items()}
    writer.memory["I"][:] = 1, 0, 0, 1
    outer = Nest("outer", mode, True, undeclared="error")
    for i in range(steps):
        # r = A x; dr = r gives dx = A^T A x
        inner = Nest(f"t{i}", Reverse, True, [product("r", "A", "x", 2)], undeclared="constant")
        inner.shadows = [whole("x", 4, f"dx{i}"), whole("r", 4, f"dr{i}")]
        inner.again = [product(f"dr{i}", "r", "I", 2), product(f"dx{i}", "I", "I", 2, alpha=0.0)]
        outer.body += [inner, product("x", f"dx{i}", "I", 2, alpha="rate", beta=1.0)]
    outer.shadows = [whole(n, k, f"{n}_outer") for n, k in size.items()]
    writer.memory |= {f"{n}_outer": writer.numbers(k) for n, k in size.items()}
    run = Run(writer)
    run.nest(outer)
    run.compare(100 * steps)


def test_autodiff_of_autodiff():
    """The second derivative of y = x ** 3 by the main call."""
    x, y, T = np.array([2.0]), np.zeros(1), np.zeros(1)
    (dx, dy), (tx, ty, tdx, tdy) = (np.zeros(1), np.ones(1)), (np.ones(1), *(np.zeros(1) for _ in range(3)))

    def cube(y: np.ndarray, x: np.ndarray) -> None:
        gemm({"x": x, "T": T}, "T", "x", "x", order=1)
        gemm({"x": x, "y": y, "T": T}, "y", "T", "x", order=1)

    def gradient(y: np.ndarray, dy: np.ndarray, x: np.ndarray, dx: np.ndarray) -> None:
        autodiff(Reverse, cube, Duplicated(y, dy), Duplicated(x, dx))

    pairs = [Duplicated(a, b) for a, b in ((y, ty), (dy, tdy), (x, tx), (dx, tdx))]
    autodiff(Forward, gradient, *pairs)
    assert (y[0], dx[0], ty[0], tdx[0]) == (8, 12, 12, 12)


# Calls that do nothing, or make no product, by the values of scalars that are active on the outer tape only.
NOTHING = product("C", "B", "E", 2, alpha="s[0]", beta="s[1]")  # alpha = 0, beta = 1
HIDDEN = {
    "output needed by an earlier call": [product("D", "A", "C", 2), NOTHING, product("D", "C", "A", 2, beta=1.0)],
    "output read twice": [product("D", "A", "C", 2), NOTHING, product("D", "A", "C", 2, beta=0.5), NOTHING],
    "operands overwritten later": [
        product("C", "A", "D", 2, alpha="s[0]", beta=0.5),
        product("D", "B", "C", 2, alpha=0.3, beta=0.2),
        product("A", "C", "B", 2, beta="s[0]"),
    ],
}


@pytest.mark.parametrize("outer", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("annotated", ["ACD", "AD", "ACDBE", "AC"])
@pytest.mark.parametrize("case", HIDDEN)
def test_values_hide_nothing_from_the_outer_tape(case, annotated, outer):
    writer = Writer("d", 0)
    memory = writer.memory
    memory |= {n: writer.numbers(4) for n in "ABCDE"}
    memory["s"][:2] = 0, 1
    inner = Nest("inner", Reverse, True, list(HIDDEN[case]), [whole(n, 4, f"{n}_inner") for n in annotated])
    names = [*"ABCDEs", *(s for x in inner.shadows for s in x.shadows)]
    memory |= {f"{n}_inner": writer.numbers(4) for n in "ABCDE"}
    top = Nest("outer", outer, True, [inner], [whole(n, 4, f"{n}_outer") for n in names])
    memory |= {f"{n}_outer": writer.numbers(4) for n in names}
    run = Run(writer)
    run.nest(top)
    run.compare(200)


@pytest.mark.parametrize("outer", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("inner", [Reverse, Forward], ids=["reverse", "forward"])
def test_no_product_by_an_active_zero(inner, outer):
    """alpha is 0, active on the outer tape only, and what it multiplies is infinite: the inner derivative has no part
    in that, whatever a BLAS makes of 0 * Inf."""
    chain = Chain()
    x = chain.x
    alpha, dalpha = np.zeros(1), np.zeros(1)
    x["B"][:] = np.inf
    with Tape(outer, undeclared="constant") as top:
        top.duplicated(alpha, dalpha)
        chain.annotate(top, "dA dR", "t")
        before = {n: v.copy() for n, v in x.items()}
        with Tape(inner, undeclared="constant") as tape:
            chain.annotate(tape, "A R")
            step = {"call": "dgemm", "transa": "N", "transb": "T", "m": 2, "n": 2, "k": 2, "alpha": "alpha"}
            step |= {"a": "A", "lda": 2, "b": "B", "ldb": 2, "beta": 0.5, "c": "R", "ldc": 2}
            FORTRAN[0].call(step, place({**x, "alpha": alpha}))
        if inner is Reverse:
            tape.reverse()
    assert np.array_equal(x["dR"], 0.5 * before["dR"])
    assert np.array_equal(x["dA"], before["dA"])


@pytest.mark.parametrize("outer", [Reverse, Forward], ids=["reverse", "forward"])
def test_nan_that_nobody_reads(outer):
    """beta = 0: neither the old output nor its shadow is read, however deep, and clearing is a store."""
    x = {n: np.linspace(0.1, 1, 4) for n in "AB"} | {n: np.full(4, np.nan) for n in ("C", "T", "dT")}
    x |= {"dA": np.zeros(4), "dB": np.zeros(4), "dC": np.ones(4)}
    t = {n: np.full(4, np.nan) if n in ("C", "T", "dT") and outer is Forward else np.ones(4) for n in x}
    with Tape(outer) as tape:
        for n in x:
            tape.duplicated(x[n], t[n], name=n)
        with Tape() as inner:
            for n in "ABCT":
                inner.duplicated(x[n], x[f"d{n}"], name=n)
            gemm(x, "T", "A", "B")
            gemm(x, "C", "T", "T")
        x_of_T = x["dT"]  # its seed is NaN, and belongs to T after the program, which nobody asked about
        gemm(x, "dT", "A", "B", alpha=0.0)
        inner.reverse()
    if outer is Reverse:
        tape.reverse()
    assert not x_of_T.any()
    assert all(np.isfinite(v).all() for v in (*x.values(), *t.values()))


# ---------------------------------------------------------------- what goes wrong, and on which tape


class Chain:
    """R = A B on guarded 2 x 2 buffers with shadows, under tapes."""

    def __init__(self) -> None:
        writer = Writer("d", 0)
        self.pen, self.x = writer.pen, {}
        for n in ("A", "B", "R", "T", "dA", "dB", "dR", "V", "dV", "tA", "tB", "tR", "tdA", "tdB", "tdR"):
            self.x[n] = self.pen.copy(writer.numbers(4))

    def annotate(self, tape: Tape, names: str, prefix: str = "d") -> None:
        for n in names.split():
            tape.duplicated(self.x[n], self.x[prefix + n], name=n)

    def record(self, **options: object) -> Tape:
        with Tape(undeclared="constant", **options) as tape:  # type: ignore[arg-type]
            self.annotate(tape, "A B R")
            gemm(self.x, "T", "A", "B")
            gemm(self.x, "R", "T", "B")
        return tape

    def bytes(self) -> dict[str, bytes]:
        return {n: v.tobytes() for n, v in self.x.items()}

    def gradient(self) -> dict[str, np.ndarray]:
        """What reverse() makes of the shadows, by a tape that nothing is around."""
        other = Chain()
        for n, v in self.x.items():
            other.x[n][:] = v
        other.record().reverse()
        return other.x


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("names", ["A", "B", "R", "dA", "dR", "T", "A dA R dR B dB"])
def test_opened_too_late(names, mode):
    """A layer around reverse() alone has not seen the calls whose adjoints it would record; outside of it all is well."""
    chain = Chain()
    tape = chain.record()
    before, want = chain.bytes(), chain.gradient()
    with Tape(mode, undeclared="constant") as late:
        for n in names.split():
            late.duplicated(chain.x[n], np.zeros(4), name=n)
        with pytest.raises(blasad.TapeError, match="opened after"):
            tape.reverse()
        assert chain.bytes() == before
    tape.reverse()
    assert all(np.array_equal(chain.x[n], want[n]) for n in chain.x)
    chain.pen.check()


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
def test_opened_too_late_by_scratch(mode):
    """Active is also what a layer's own calls made active."""
    chain = Chain()
    tape = chain.record()
    before = chain.bytes()
    with Tape(mode, undeclared="constant") as late:
        late.duplicated(chain.x["V"], chain.x["dV"])
        gemm(chain.x, "R", "V", "V", alpha=0.0, beta=1.0)  # nothing
        gemm(chain.x, "dA", "V", "V", beta=1.0)
        before["dA"] = chain.x["dA"].tobytes()
        with pytest.raises(blasad.TapeError, match="opened after"):
            tape.reverse()
        assert {n: v for n, v in chain.bytes().items() if n != "dV"} == {n: v for n, v in before.items() if n != "dV"}


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
def test_opened_late_about_something_else(mode):
    chain = Chain()
    tape = chain.record()
    want = chain.gradient()
    with Tape(mode, undeclared="constant") as late:
        late.duplicated(chain.x["V"], chain.x["dV"])
        late.const(chain.x["A"])
        gemm(chain.x, "V", "A", "B", beta=0.5)
        tape.reverse()
    assert all(np.array_equal(chain.x[n], want[n]) for n in ("dA", "dB", "dR"))
    tape.close()
    seed = chain.x["dV"].copy()
    if mode is Reverse:
        late.reverse()
        assert np.array_equal(chain.x["dV"], 0.5 * seed)


@pytest.mark.parametrize(
    ("late", "annotated"), [("operand", True), ("operand", False), ("alpha", True), ("beta", True)], ids=str
)
def test_opened_too_late_about_a_constant(late, annotated):
    """What the recording took for constant is memory of the recording: the adjoints have its values in them."""
    chain = Chain()
    x = chain.x
    with Tape(undeclared="constant") as tape:
        chain.annotate(tape, "A R")
        for n in ("B", "V", "T") if annotated else ():
            tape.const(x[n], name=n)
        gemm(x, "R", "A", "B", alpha="V[1]", beta="T[2]", road=FORTRAN[0])
    before = chain.bytes()
    with Tape(undeclared="constant") as outer:
        outer.duplicated(x[{"operand": "B", "alpha": "V", "beta": "T"}[late]], np.zeros(4))
        with pytest.raises(blasad.TapeError, match="opened after"):
            tape.reverse()
    assert chain.bytes() == before


def test_opened_late_about_scratch_used_again():
    """What was kept of undeclared memory stays; the memory itself may be something else by now."""
    chain = Chain()
    x = chain.x
    with Tape(undeclared="constant") as tape:
        chain.annotate(tape, "A R")
        gemm(x, "R", "A", "B")
    want = {n: v.copy() for n, v in x.items()}
    want["dA"] += (x["dR"].reshape(2, 2).T @ x["B"].reshape(2, 2)).T.ravel()
    x["B"][:] = 5
    with Tape(undeclared="constant") as late:
        late.duplicated(x["B"], x["dB"])
        tape.reverse()
    assert np.allclose(x["dA"], want["dA"], rtol=1e-14)


@pytest.mark.parametrize("outer", [Reverse, Forward], ids=["reverse", "forward"])
def test_opened_late_about_what_lies_between(outer):
    """Memory is elements: what lies between those of the recording is nobody's business."""
    block = np.linspace(0.1, 1, 40)
    x = {n: block[8 * i : 8 * i + 4] for i, n in enumerate(["S", "A", "T", "R"])}
    gaps = [block[8 * i + 4 : 8 * i + 8] for i in range(4)]
    pairs, shadow = np.linspace(1, 2, 16), np.zeros(16)
    with Tape(undeclared="constant") as tape:
        tape.duplicated(x["A"], np.ones(4))
        tape.duplicated(x["R"], np.ones(4))
        tape.duplicated(pairs[::2], shadow[::2])
        gemm(x, "S", "A", "A")
        gemm(x, "T", "S", "A")
        gemm(x, "R", "T", "S")
        gemm({"A": pairs, "R": x["R"]}, "R", "A", "A", order=1, ldb=2, beta=1.0)
    with Tape(outer, undeclared="constant") as late:
        for gap in gaps:
            late.duplicated(gap, np.zeros(4))
        for y in (pairs, shadow):
            late.duplicated(y[1::2], np.zeros(16)[1::2])
        tape.reverse()
    assert shadow[0] == 2 * pairs[0]


def test_replayed_when_the_outer_tape_has_ended():
    """Then it is first order, and so is the outer tape, which has seen the program and what the inner one kept."""
    chain = Chain()
    want = chain.gradient()
    with Tape(undeclared="constant") as outer:
        chain.annotate(outer, "A B R", "t")
        tape = chain.record()
    seeds = {n: chain.x[n].copy() for n in ("tA", "tB", "tR")}
    outer.reverse()
    tape.reverse()
    assert all(np.array_equal(chain.x[n], want[n]) for n in ("dA", "dB", "dR"))
    for n, seed in seeds.items():
        chain.x[f"d{n[1:]}"][:] = seed
    tape.reverse()
    assert all(np.array_equal(chain.x[f"d{n[1:]}"], chain.x[n]) for n in seeds)


def test_opened_inside_and_replayed_inside():
    """The order of opening counts: a tape that was opened inside another one is replayed under it."""
    chain = Chain()
    want = chain.gradient()
    with Tape(undeclared="constant") as outer:
        tape = chain.record()
        tape.reverse()
        assert len(outer) > len(tape)
    assert all(np.array_equal(chain.x[n], want[n]) for n in chain.x)


@pytest.mark.parametrize("way", ["leave", "close", "reverse"])
def test_outer_tape_cannot_end_first(way):
    chain = Chain()
    outer, inner = Tape(undeclared="constant"), Tape(undeclared="constant")
    with outer:
        chain.annotate(outer, "A B R", "t")
        with inner:
            chain.annotate(inner, "A B R")
            end = {"leave": lambda: outer.__exit__(None, None, None), "close": outer.close, "reverse": outer.reverse}[
                way
            ]
            with pytest.raises(blasad.TapeError):
                end()
            gemm(chain.x, "R", "A", "B")
            assert blasad.lib.blasad_current_tape() == inner._tape
        assert (len(inner), len(outer)) == (1, 1)
    for tape in (inner, outer):
        tape.reverse()
    assert not chain.x["dR"].any()
    assert not chain.x["tR"].any()


def break_alias(chain: Chain, tape: Tape) -> None:
    gemm(chain.x, "dV", "dV", "V")  # dV is active on the inner tape only


def break_const(chain: Chain, tape: Tape) -> None:
    gemm(chain.x, "V", "dV", "dV")


def break_width(chain: Chain, tape: Tape) -> None:
    gemm({n: v.view(np.float32) for n, v in chain.x.items()}, "V", "dV", "dV", order=1)


def break_content(chain: Chain, tape: Tape) -> None:
    gemm(chain.x, "dV", "V", "A", beta=1.0)
    chain.x["dV"][1] += 1


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (break_alias, blasad.AliasError),
        (break_const, blasad.ActivityError),
        (break_width, blasad.ActivityError),
        (break_content, blasad.UnseenWriteError),
    ],
    ids=["alias", "const", "width", "unseen"],
)
def test_error_of_an_inner_tape(fault, error, mode):
    """It is the inner tape's own affair: the outer one has recorded the program, and only that."""
    chain, alone = Chain(), Chain()
    spare = np.zeros(4)
    for c, nested in ((chain, True), (alone, False)):
        with Tape(mode, undeclared="constant") as outer:
            c.annotate(outer, "A B R", "t")
            gemm(c.x, "T", "A", "B")
            if nested:
                inner = Tape(undeclared="constant")
                with pytest.raises(error), inner:  # noqa: PT012
                    c.annotate(inner, "A B R")
                    inner.duplicated(c.x["dV"], spare)
                    inner.const(c.x["V"])
                    gemm(c.x, "R", "T", "A", alpha=0.5)
                    fault(c, inner)
                shadows = c.bytes()
                with pytest.raises(error):
                    inner.reverse()
                assert c.bytes() == shadows
                inner.close()
            else:
                gemm(c.x, "R", "T", "A", alpha=0.5)
            gemm(c.x, "T", "R", "B")
            gemm(c.x, "R", "T", "A", beta=0.5)
        if mode is Reverse:
            outer.reverse()
    for n in ("tA", "tB", "tR", "A", "B", "R"):
        assert np.array_equal(chain.x[n], alone.x[n]), n


def test_error_of_an_inner_replay():
    """A replay that is refused is no call that the outer tape could have seen."""
    chain = Chain()
    with Tape(undeclared="constant") as outer:
        chain.annotate(outer, "R dA dB dR", "t")
        tape = chain.record()
        length, before = len(outer), chain.bytes()
        chain.x["B"][2] += 1
        with pytest.raises(blasad.UnseenWriteError, match=r"reverse\(\)"):
            tape.reverse()
        assert len(outer) == length
        chain.x["B"][2] -= 1
        assert chain.bytes() == before
    outer.reverse()


def test_invalid_call_is_everybodys():
    chain = Chain()
    outer, inner = Tape(undeclared="constant"), Tape(undeclared="constant")
    with contextlib.suppress(blasad.InvalidCallError), outer:
        chain.annotate(outer, "A", "t")
        with contextlib.suppress(blasad.InvalidCallError), inner:
            chain.annotate(inner, "A")
            gemm(chain.x, "R", "A", "B", lda=1)
    for tape in (inner, outer):
        with pytest.raises(blasad.InvalidCallError, match="lda"):
            tape.reverse()


@pytest.mark.parametrize("announced", [True, False])
def test_unseen_seed(announced):
    """A seed that NumPy writes into an inner shadow is a write that the outer tape, which has it Duplicated, cannot
    have seen; announced it is a constant."""
    chain = Chain()
    seed = chain.x["dR"]
    array = ffi.cast("void *", seed.ctypes.data), kind(seed), 1, (4,), (8,)
    outer = Tape(undeclared="constant")
    with contextlib.nullcontext() if announced else pytest.raises(blasad.UnseenWriteError, match="dR"), outer:
        chain.annotate(outer, "A B R dA dB dR", "t")
        tape = chain.record()
        if announced:
            check(lib.blasad_assigned_begin(*array))
        seed[:] = 1
        if announced:
            check(lib.blasad_assigned_end(*array))
        tape.reverse()
    if announced:
        outer.reverse()
        assert not chain.x["tdR"].any()


@pytest.mark.parametrize("outer", [Reverse, Forward], ids=["reverse", "forward"])
def test_dead_output_of_an_inner_call(outer):
    """beta = 0 by address, as Fortran passes it: a constant to both tapes. What the output held is read by neither."""
    chain = Chain()
    with Tape(outer) as top:
        chain.annotate(top, "A B R dA dB dR", "t")
        with Tape(undeclared="error") as tape:
            chain.annotate(tape, "A B R")
            chain.x["R"][:] = 7
            gemm(chain.x, "T", "A", "B", road=FORTRAN[0])
            gemm(chain.x, "R", "T", "B", road=FORTRAN[0])
        tape.reverse()
    assert not tape.assumptions
    assert not top.assumptions
