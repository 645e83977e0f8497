"""Tapes that record every thread (section 9): threads="all"."""

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matrices import Array, Matrices, N, ends_with, relu, told, two_products
from roads import CBLAS, FORTRAN, gemm

import blasad
from blasad import Duplicated, Forward, Reverse, Tape, autodiff, current_tape, shadow

THREADS = 8
# through cffi and ctypes, which let other threads of Python run meanwhile
WAYS = [FORTRAN[0], CBLAS[0]]


def in_thread(body: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(body).result()


def in_threads(body: Callable[[int], object], count: int = THREADS) -> None:
    """All at once, and what one of them raises is raised here."""
    barrier = threading.Barrier(count)

    def run(i: int) -> None:
        barrier.wait()
        body(i)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(run, range(count)))


class Crowd:
    """A program of many threads: C_i = A_i W W, through scratch of each thread's own."""

    def __init__(self) -> None:
        rng = np.random.default_rng(9)
        names = [f"{x}{i}" for i in range(THREADS) for x in "AC"]
        self.x = {n: rng.uniform(-1, 1, N * N) for n in ["W", *names]}
        self.dx = {n: rng.uniform(-1, 1, N * N) for n in self.x}
        self.start = {n: x.copy() for n, x in self.dx.items()}
        self.scratch = [np.zeros(N * N) for _ in range(THREADS)]

    def annotate(self, tape: Tape) -> None:
        for n, x in self.x.items():
            tape.duplicated(x, self.dx[n], name=n)

    def work(self, i: int, times: int = 1, scratch: Array | None = None) -> None:
        memory = {**self.x, "T": self.scratch[i] if scratch is None else scratch}
        for _ in range(times):
            road = WAYS[i % len(WAYS)]
            gemm(memory, "T", f"A{i}", "W", order=N, road=road)
            gemm(memory, f"C{i}", "T", "W", order=N, road=road)

    def check(self) -> None:
        def at(memory: dict[str, Array], name: str) -> Array:
            return memory[name].reshape(N, N).T

        w, dw = at(self.x, "W"), at(self.start, "W").copy()
        for i in range(THREADS):
            a, g = at(self.x, f"A{i}"), at(self.start, f"C{i}")
            assert np.allclose(at(self.x, f"C{i}"), a @ w @ w)
            assert np.allclose(at(self.dx, f"A{i}"), at(self.start, f"A{i}") + g @ w.T @ w.T), i
            assert not self.dx[f"C{i}"].any()
            dw += (a @ w).T @ g + a.T @ (g @ w.T)
        assert np.allclose(at(self.dx, "W"), dw)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("limit", [None, 0])
def test_threads_that_share_an_operand(verify, limit):
    """In reverse mode; each overwrites its own buffers many times over, and only the last content counts."""
    crowd = Crowd()
    with Tape(threads="all", verify=verify, memory_limit=limit) as tape:
        crowd.annotate(tape)
        in_threads(lambda i: crowd.work(i, 20))
    assert len(tape) == THREADS * 40
    assert tape.assumptions == []
    for _ in range(2):
        for n, dx in crowd.dx.items():
            dx[:] = crowd.start[n]
        tape.reverse()
        crowd.check()


def test_threads_in_forward_mode():
    crowd = Crowd()
    with Tape(Forward, threads="all") as tape:
        crowd.annotate(tape)
        in_threads(lambda i: crowd.work(i, 20))
    w, dw = (m["W"].reshape(N, N).T for m in (crowd.x, crowd.start))
    for i in range(THREADS):
        a, da = (m[f"A{i}"].reshape(N, N).T for m in (crowd.x, crowd.start))
        wanted = da @ w @ w + a @ dw @ w + a @ w @ dw
        assert np.allclose(crowd.dx[f"C{i}"].reshape(N, N).T, wanted)


def test_order_is_that_of_the_program():
    """What one thread writes another one reads, overwrites, and hands on."""
    m = Matrices("ABC")
    with Tape(threads="all") as tape:
        m.annotate(tape, "ABC")
        for c, a, b in (("C", "A", "B"), ("A", "C", "B"), ("C", "A", "A")):
            in_thread(lambda c=c, a=a, b=b: m.gemm(c, a, b))
    tape.reverse()
    a1 = m["A"]  # what the second call left
    g = m.before("C")
    g1 = m.before("A") + g @ a1.T + a1.T @ g
    c1 = a1 @ np.linalg.inv(m["B"])
    a0 = c1 @ np.linalg.inv(m["B"])
    gc1 = g1 @ m["B"].T
    assert np.allclose(m.shadow("A"), gc1 @ m["B"].T)
    assert np.allclose(m.shadow("B"), m.before("B") + c1.T @ g1 + a0.T @ gc1)
    assert not m.dx["C"].any()


def test_autodiff():
    crowd = Crowd()
    pairs = {n: Duplicated(x, crowd.dx[n]) for n, x in crowd.x.items()}
    autodiff(Reverse, lambda **_: in_threads(crowd.work), threads="all", **pairs)
    crowd.check()


# ---------------------------------------------------------------- other tapes around


def test_tapes_of_one_thread_above_one_of_all():
    """Each thread's own tape sees that thread, and what it replays is on the tape of all threads."""
    crowd = Crowd()
    own: list[Tape] = []

    def work(i: int) -> None:
        assert current_tape() is outer
        with Tape() as tape:
            tape.const(crowd.x["W"])
            for n in (f"A{i}", f"C{i}"):
                tape.duplicated(crowd.x[n], crowd.dx[n])
            crowd.work(i)
            assert current_tape() is tape
        assert current_tape() is outer
        assert told(tape) == ["dgemm", "dgemm"]
        own.append(tape)

    rng = np.random.default_rng(1)
    dw, ddx = np.zeros(N * N), {n: rng.uniform(-1, 1, N * N) for n in crowd.dx}
    ddx_start = {n: x.copy() for n, x in ddx.items()}
    with Tape(threads="all") as outer:
        outer.duplicated(crowd.x["W"], dw, name="W")
        for i in range(THREADS):
            outer.const(crowd.x[f"A{i}"])
            outer.duplicated(crowd.x[f"C{i}"], np.zeros(N * N))
            outer.const(crowd.dx[f"C{i}"])
            outer.duplicated(crowd.dx[f"A{i}"], ddx[f"A{i}"], name=f"dA{i}")
        in_threads(work)
        for tape in own:
            tape.reverse()
    outer.reverse()
    # dA is its start + G W' W'; with u for the shadow of dA, <u, G W' W'> has the gradient u' G W' + W' u' G in W
    w, wanted = crowd.x["W"].reshape(N, N).T, np.zeros((N, N))
    for i in range(THREADS):
        g, u = (m[n].reshape(N, N).T for m, n in ((crowd.start, f"C{i}"), (ddx_start, f"A{i}")))
        assert np.allclose(crowd.dx[f"A{i}"].reshape(N, N).T, crowd.start[f"A{i}"].reshape(N, N).T + g @ w.T @ w.T)
        wanted += u.T @ g @ w.T + w.T @ u.T @ g
    assert np.allclose(dw.reshape(N, N).T, wanted)


def test_a_tape_of_all_threads_lies_below_those_of_each():
    """Also where it was opened later, and where the tape around it is closed first."""
    m = Matrices()
    with Tape(undeclared="constant") as own:
        m.annotate(own, "ABC")
        everywhere = Tape(Forward, threads="all", undeclared="constant")
        everywhere.__enter__()
        m.gemm("H", "A", "B")
        assert current_tape() is own
        in_thread(lambda: Matrices().gemm("C", "A", "B"))
    assert current_tape() is everywhere
    everywhere.__exit__(None, None, None)
    assert current_tape() is None
    assert (told(own), told(everywhere)) == (["dgemm"], ["dgemm", "dgemm"])


def test_tapes_of_all_threads_end_in_the_order_of_a_stack():
    """Whichever threads have opened them."""
    m, first = Matrices(), Tape(threads="all")
    opened, tried = threading.Event(), threading.Event()
    tapes: list[Tape] = []

    def second() -> None:
        with Tape(threads="all", undeclared="constant") as tape:
            tapes.append(tape)
            opened.set()
            tried.wait(10)
            m.gemm("H", "A", "B")

    with first:
        m.annotate(first, "ABC")
        thread = threading.Thread(target=second)
        thread.start()
        opened.wait(10)
        m.gemm("C", "A", "B")
        try:
            for use in (lambda: first.__exit__(None, None, None), first.close):
                with pytest.raises(blasad.TapeError, match="opened inside this one is still recording"):
                    use()
            assert current_tape() is tapes[0]
        finally:
            tried.set()
            thread.join()
        assert current_tape() is first
    assert told(first) == told(tapes[0]) == ["dgemm", "dgemm"]
    first.reverse()


def test_it_belongs_to_the_thread_that_opened_it():
    m, tape = Matrices(), Tape(threads="all")
    with tape:
        m.annotate(tape, "AB")

        def meddle() -> None:
            assert current_tape() is tape
            uses = [lambda: tape.__exit__(None, None, None), lambda: tape.const(m.x["C"]), tape.close, tape.reverse]
            for use in uses:
                with pytest.raises(blasad.TapeError, match=r"another thread|own block"):
                    use()
            m.gemm("C", "A", "B")

        in_thread(meddle)
        with pytest.raises(blasad.TapeError, match="touched"):
            tape.duplicated(m.x["C"], m.dx["C"])
        assert len(tape) == 1
    with pytest.raises(blasad.TapeError, match="once"):
        in_thread(tape.__enter__)
    in_thread(tape.reverse)
    tape.close()
    assert current_tape() is None


def test_thread_that_ends_with_an_open_tape():
    """What it has is not taken for the whole, and nobody is recorded any more."""
    m, tape = Matrices(), Tape(threads="all")

    def leave() -> None:
        tape.__enter__()
        m.annotate(tape, "ABC")
        m.gemm("C", "A", "B")

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    for _ in range(1000):  # join() returns a moment before the thread of the system is gone
        if current_tape() is None:
            break
        time.sleep(0.01)
    length = len(tape)
    m.gemm("C", "A", "B")
    assert len(tape) == length
    with pytest.raises(blasad.TapeError, match="has ended"):
        tape.reverse()
    with pytest.raises(blasad.TapeError, match="own block"):
        tape.forget(m.x["H"])


def test_thread_that_ends_within_the_recording():
    """Its calls stay; its stack and its scratch may be another thread's next."""
    crowd = Crowd()
    with Tape(threads="all") as tape:
        crowd.annotate(tape)
        for i in range(THREADS):
            in_thread(lambda i=i: crowd.work(i, 3, np.zeros(N * N)))
    tape.reverse()
    crowd.check()


def test_garbage():
    Tape(threads="all").__enter__()
    gc.collect()
    assert current_tape() is None


# ---------------------------------------------------------------- what threads announce


def step(h: Array) -> Array:
    return (h > 0).astype(float)


@pytest.mark.parametrize("mode", [Reverse, Forward])
def test_record(mode):
    """The middle of three on another thread, which is asked for the derivative wherever the tape is replayed."""
    m = Matrices()
    with Tape(mode, threads="all") as tape:
        m.annotate(tape, "ABC")
        two_products(m, lambda: in_thread(lambda: relu(m, tape)))
    assert told(tape) == ["dgemm", "record", "dgemm"]
    if mode is Forward:
        dh = m.before("A") @ m["B"] + m["A"] @ m.before("B")
        assert np.allclose(m.shadow("C"), (dh * step(m["H"])) @ m["B"] + m["R"] @ m.before("B"))
        return
    in_thread(tape.reverse)
    gh = m.before("C") @ m["B"].T * step(m["H"])
    assert np.allclose(m.shadow("A"), m.before("A") + gh @ m["B"].T)
    assert np.allclose(m.shadow("B"), m.before("B") + m["R"].T @ m.before("C") + m["A"].T @ gh)


@pytest.mark.parametrize("mode", [Reverse, Forward])
def test_record_on_many_threads(mode):
    """relu in scratch of each thread's own, many at a time."""
    rng, start = np.random.default_rng(2), np.ones(N * N)
    w, a, c = rng.uniform(-1, 1, N * N), rng.uniform(-1, 1, (THREADS, N * N)), np.zeros((THREADS, N * N))
    dw, da, dc = shadow(w), shadow(a), np.tile(start, (THREADS, 1))
    if mode is Forward:
        dw[:], da[:] = rng.uniform(-1, 1, N * N), rng.uniform(-1, 1, (THREADS, N * N))

    def slope(inputs: tuple[Array], _outputs: object, d: tuple[Array]) -> Array:
        return d[0] * step(inputs[0])

    def work(i: int) -> None:
        memory = {"A": a[i], "W": w, "C": c[i], "H": np.zeros(N * N), "R": np.zeros(N * N)}
        for _ in range(10):
            gemm(memory, "H", "A", "W", order=N)
            with tape.record(memory["H"], memory["R"], slope, slope):
                np.maximum(memory["H"], 0, out=memory["R"])
            gemm(memory, "C", "R", "W", order=N)

    with Tape(mode, threads="all") as tape:
        for x, dx in ((w, dw), (a, da), (c, dc)):
            tape.duplicated(x, dx)
        in_threads(work)
    W, dW = w.reshape(N, N).T, np.zeros((N, N))
    if mode is Reverse:
        tape.reverse()
    for i in range(THREADS):
        A, H = a[i].reshape(N, N).T, a[i].reshape(N, N).T @ W
        if mode is Forward:
            dH = da[i].reshape(N, N).T @ W + A @ dw.reshape(N, N).T
            dC = (dH * step(H)) @ W + np.maximum(H, 0) @ dw.reshape(N, N).T
            assert np.allclose(dc[i].reshape(N, N).T, dC), i
            continue
        G = np.ones((N, N))
        gh = (G @ W.T) * step(H)
        assert np.allclose(da[i].reshape(N, N).T, gh @ W.T), i
        dW += np.maximum(H, 0).T @ G + A.T @ gh
    assert mode is Forward or np.allclose(dw.reshape(N, N).T, dW)


def test_jvp_that_fails_on_another_thread():
    """It passes on in neither thread; the tape raises it when its block is left."""
    m, tape = Matrices(), Tape(Forward, threads="all")
    with ends_with(tape, ZeroDivisionError, "division"):
        m.annotate(tape, "ABC")

        def between() -> None:
            in_thread(lambda: relu(m, tape, jvp=lambda *_: 1 / 0))
            in_thread(lambda: relu(m, tape))

        two_products(m, between)


def test_inside_a_derivative():
    """A derivative may open tapes of its own, of all threads as well."""
    m, said = Matrices(), []

    def vjp(inputs: tuple[Array], _outputs: object, d: tuple[Array]) -> Array:
        said.append(current_tape())
        with Tape(threads="all"):
            pass
        return d[0] * step(inputs[0])

    with Tape(threads="all", undeclared="constant") as outer:
        with Tape() as inner:
            m.annotate(inner, "ABC")
            two_products(m, lambda: relu(m, inner, vjp=vjp))
        inner.reverse()
    assert said == [outer]
    assert current_tape() is None


def test_outer_tape_closed_by_a_derivative():
    m = Matrices()

    def vjp(inputs: tuple[Array], _outputs: object, d: tuple[Array]) -> Array:
        with pytest.raises(blasad.TapeError, match="close it after that"):
            outer.__exit__(None, None, None)
        with pytest.raises(blasad.TapeError, match="close it after that"):
            outer.close()
        return d[0] * step(inputs[0])

    outer = Tape(threads="all", undeclared="constant")
    with outer:
        with Tape() as inner:
            m.annotate(inner, "ABC")
            two_products(m, lambda: relu(m, inner, vjp=vjp))
        inner.reverse()
    assert current_tape() is None


def test_current_tape_where_nobody_records():
    """In the block of an operation, and in a derivative that the outermost tape asks for."""
    m, said = Matrices(), []

    def jvp(inputs: tuple[Array], _outputs: object, d: tuple[Array]) -> Array:
        said.append(current_tape())
        return d[0] * step(inputs[0])

    with Tape(Forward, threads="all") as tape:
        for n in "ABC":
            tape.batch_duplicated(m.x[n], [m.dx[n], shadow(m.dx[n])], name=n)
        with tape.record(m.x["A"], m.x["B"], jvp, jvp):
            m.x["B"][:] = m.x["A"]
            said.append(current_tape())
    assert said == [None, None, None]


def test_assigned_and_forget():
    m = Matrices("ABCHR")
    with Tape(threads="all", undeclared="constant") as tape:
        m.annotate(tape, "ABC")
        m.gemm("H", "A", "B")
        m.gemm("C", "H", "B")
        old = m["B"], m["H"]

        def fresh() -> None:
            with tape.assigned(m.x["B"]):
                m.x["B"][:] = np.arange(N * N)
            tape.forget(m.x["H"])
            m.x["H"][:] = 2.0

        in_thread(fresh)
        m.gemm("C", "H", "B", beta=1.0)
    tape.reverse()
    b, h = old
    g = m.before("C")
    gh = g @ b.T
    assert np.allclose(m.shadow("A"), m.before("A") + gh @ b.T)
    assert np.allclose(m.shadow("B"), h.T @ g + m["A"].T @ gh)


def test_unseen_write_between_threads():
    m, tape = Matrices(), Tape(threads="all")
    with ends_with(tape, blasad.UnseenWriteError, "A"):
        m.annotate(tape, "ABC")
        m.gemm("C", "A", "B")
        m.x["A"][0] += 1
        in_thread(lambda: m.gemm("C", "A", "B"))


def test_a_call_that_blas_refuses_on_another_thread():
    m, tape = Matrices(), Tape(threads="all")
    with ends_with(tape, blasad.InvalidCallError, "lda"):
        m.annotate(tape, "ABC")
        in_thread(lambda: m.gemm("C", "A", "B", lda=1))
