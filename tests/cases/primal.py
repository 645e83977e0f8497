"""BLAS calls on named buffers in extended precision: what each routine reads, writes and leaves alone.

Column-major or row-major, leading dimensions, offsets, triangles, increments of any sign and the quick returns are
those of the reference BLAS 3.12. No BLAS is called. `Call.reads` and `Call.writes` log the elements touched, by
operand; `Call.poisoned` says that a NaN or Inf was among those read.
"""

import re

import numpy as np

REAL, COMPLEX = np.longdouble, np.clongdouble


class Refused(Exception):
    """A call with an invalid argument: the error class of api.md, the argument's number, its value."""


class View:
    """The elements of a buffer that one operand of one call names, in the shape of the operand."""

    def __init__(self, call, key, index, stored=None):
        self.call, self.key, self.index = call, key, index
        self.stored = np.ones(index.shape, bool) if stored is None else stored  # the others are zeros
        call.views[key] = self
        self.name = call.place(key)[0]
        self.memory = call.memory[self.name]
        assert index.size == 0 or 0 <= index.min() <= index.max() < self.memory.size, f"{key} leaves {self.name}"

    def get(self, mask=None):
        mask = self.stored if mask is None else self.stored & mask
        self.call.reads.setdefault(self.key, set()).update((self.name, i) for i in self.index[mask].tolist())
        if not mask.any():
            return np.zeros(self.index.shape, self.memory.dtype)
        out = np.where(mask, self.memory[np.where(mask, self.index, self.index[mask][0])], self.memory.dtype.type(0))
        self.call.poisoned |= not np.isfinite(out).all()
        return out

    def set(self, values, mask=None):
        mask = self.stored if mask is None else self.stored & mask
        self.call.writes.setdefault(self.key, set()).update((self.name, i) for i in self.index[mask].tolist())
        self.memory[self.index[mask]] = np.broadcast_to(values, self.index.shape)[mask]


class Call:
    """One step of a program: the arguments by their Fortran names, and views of the operands."""

    def __init__(self, step, memory):
        self.args = {k: v for k, v in step.items() if k != "call"}
        self.memory, self.views, self.reads, self.writes, self.poisoned = memory, {}, {}, {}, False
        name, self.letter = step["call"].removesuffix("_sub"), step["call"][0]
        self.family = next((f for f in (name[1:], name[2:]) if f in ROUTINES), None)
        assert self.family, f"unknown routine {step['call']}"
        self.row_major = self.args.get("layout", "col") == "row"
        self.minus = self.args.get("minus", -1)  # what makes a sum a difference: 1 where a bound is asked for

    def refuse(self, key):
        raise Refused("InvalidCallError", list(self.args).index(key) + 1, self.args[key])

    def __getitem__(self, key):
        """A dimension, never negative."""
        if self.args[key] < 0:
            self.refuse(key)
        return self.args[key]

    def flag(self, key):
        allowed = {"uplo": "UL", "side": "LR", "diag": "UN"}.get(key, "NTC")
        if self.family in ("syrk", "syr2k") and key == "trans" and self.letter in "cz":
            allowed = "NT"
        value = self.args[key].upper()
        return value if value in allowed else self.refuse(key)

    def place(self, key):
        """ "A[5]" or "A": buffer and element that a pointer argument names."""
        name, offset = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", self.args[key]).groups()
        return name, int(offset or 0)

    def scalar(self, key):
        """alpha or beta: a literal, or the content of the memory whose address was passed."""
        value = self.args[key]
        if not isinstance(value, str):
            return REAL(value)
        if value.split("[")[0] not in self.memory:
            return COMPLEX(complex(value))
        name, offset = self.place(key)
        self.reads.setdefault(key, set()).add((name, offset))
        return self.memory[name][offset]

    def matrix(self, key, rows, cols):
        ld = self.args["ld" + key]
        if ld < max(1, cols if self.row_major else rows):
            self.refuse("ld" + key)
        down, right = (ld, 1) if self.row_major else (1, ld)
        return View(self, key, self.place(key)[1] + down * np.arange(rows)[:, None] + right * np.arange(cols))

    def band(self, rows, cols, kl, ku):
        ld = self.args["lda"]
        if ld < kl + ku + 1:
            self.refuse("lda")
        index, stored = band_index(rows, cols, kl, ku, ld, self.row_major)
        return View(self, "a", self.place("a")[1] + index, stored)

    def triangle(self, uplo, n):
        """The operand of which a triangle is stored: as part of a matrix, in a band or packed."""
        if "ap" in self.args:
            index, stored = packed_index(uplo, n, self.row_major)
            return View(self, "ap", self.place("ap")[1] + index, stored)
        if "k" in self.args:
            return self.band(n, n, *(0, self["k"])[:: 1 if uplo == "U" else -1])
        return self.matrix("a", n, n)

    def vector(self, key, n):
        inc = self.args["inc" + key]
        if inc == 0 and self.family not in LEVEL1:
            self.refuse("inc" + key)
        first = self.place(key)[1] + (max(n - 1, 0) * -inc if inc < 0 else 0)
        return View(self, key, first + inc * np.arange(max(n, 0)))


def band_index(rows, cols, kl, ku, ld, row_major):
    """Where each element is, and whether it is anywhere; those that are not have the place of the first one."""
    i, j = np.indices((rows, cols))
    stored = (i - j <= kl) & (j - i <= ku)
    index = i * ld + kl + j - i if row_major else j * ld + ku + i - j
    return np.where(stored, index, index[:1, :1]), stored


def packed_index(uplo, n, row_major):
    i, j = np.indices((n, n))
    stored = i <= j if uplo == "U" else i >= j
    long, short = (i, j) if row_major else (j, i)  # row after row, or column after column
    if (uplo == "U") != row_major:  # each is one longer than that before it
        index = long * (long + 1) // 2 + short
    else:
        index = long * n - long * (long - 1) // 2 + short - long
    return np.where(stored, index, 0), stored


def op(flag, a):
    return {"N": a, "T": a.T, "C": a.conj().T}[flag]


def triangle(uplo, n, strict=False):
    ones = np.ones((n, n), bool)
    return np.triu(ones, 1 if strict else 0) if uplo == "U" else np.tril(ones, -1 if strict else 0)


def symmetric(view, uplo, hermitian):
    n = len(view.index)
    a = view.get(triangle(uplo, n))
    if not hermitian:
        return a + np.where(np.eye(n, dtype=bool), 0, a.T)
    return np.where(np.eye(n, dtype=bool), a.real, a + a.conj().T)


def triangular(view, uplo, diag):
    n, unit = len(view.index), diag == "U"
    return view.get(triangle(uplo, n, strict=unit)) + (np.eye(n) if unit else 0)


def update(out, product, alpha, beta, mask=None, real_diagonal=False):
    """out <- product() + beta out. product is not evaluated for alpha = 0, out is not read for beta = 0."""
    if out.index.size == 0:
        return
    total = product() if alpha != 0 else np.zeros(out.index.shape, out.memory.dtype)
    old = out.get(mask) if beta != 0 else 0
    if real_diagonal:  # Hermitian: imaginary parts there are not read, and set to 0
        diagonal = np.eye(len(total), dtype=bool)
        total, old = (np.where(diagonal, np.real(part), part) for part in (total, old))
    out.set(total + beta * old if beta != 0 else total, mask)


def gemm(c):
    ta, tb = c.flag("transa"), c.flag("transb")
    m, n, k, alpha, beta = c["m"], c["n"], c["k"], c.scalar("alpha"), c.scalar("beta")
    a = c.matrix("a", *((m, k) if ta == "N" else (k, m)))
    b = c.matrix("b", *((k, n) if tb == "N" else (n, k)))
    out = c.matrix("c", m, n)
    if not ((alpha == 0 or k == 0) and beta == 1):
        update(out, lambda: alpha * (op(ta, a.get()) @ op(tb, b.get())), alpha, beta)


def gemmt(c):
    uplo, ta, tb = c.flag("uplo"), c.flag("transa"), c.flag("transb")
    n, k, alpha, beta = c["n"], c["k"], c.scalar("alpha"), c.scalar("beta")
    a = c.matrix("a", *((n, k) if ta == "N" else (k, n)))
    b = c.matrix("b", *((k, n) if tb == "N" else (n, k)))
    out = c.matrix("c", n, n)
    if not ((alpha == 0 or k == 0) and beta == 1):  # nothing to be done
        update(out, lambda: alpha * (op(ta, a.get()) @ op(tb, b.get())), alpha, beta, triangle(uplo, n))


def symm(c, hermitian=False):
    side, uplo, m, n = c.flag("side"), c.flag("uplo"), c["m"], c["n"]
    alpha, beta, order = c.scalar("alpha"), c.scalar("beta"), m if side == "L" else n
    a, b, out = c.matrix("a", order, order), c.matrix("b", m, n), c.matrix("c", m, n)

    def product():
        full = symmetric(a, uplo, hermitian)
        return alpha * (full @ b.get() if side == "L" else b.get() @ full)

    if not (alpha == 0 and beta == 1):
        update(out, product, alpha, beta)


def syrk(c, hermitian=False, rank2=False):
    uplo, trans, n, k = c.flag("uplo"), c.flag("trans"), c["n"], c["k"]
    alpha, beta, shape = c.scalar("alpha"), c.scalar("beta"), (n, k) if trans == "N" else (k, n)
    a = c.matrix("a", *shape)
    b = c.matrix("b", *shape) if rank2 else None
    out = c.matrix("c", n, n)
    turn = (lambda x: x.conj().T) if hermitian else (lambda x: x.T)

    def product():
        x = a.get() if trans == "N" else turn(a.get())
        if not rank2:
            return alpha * (x @ turn(x))
        y = b.get() if trans == "N" else turn(b.get())
        return alpha * (x @ turn(y)) + (np.conj(alpha) if hermitian else alpha) * (y @ turn(x))

    if not ((alpha == 0 or k == 0) and beta == 1):
        update(out, product, alpha, beta, triangle(uplo, n), real_diagonal=hermitian)


def substitute(t, b, lower):
    """t x = b for triangular t."""
    x, rows = b.astype(np.result_type(t, b)), range(len(t))
    for i in rows if lower else reversed(rows):
        done = slice(0, i) if lower else slice(i + 1, None)
        x[i] = (x[i] - t[i, done] @ x[done]) / t[i, i]
    return x


def trmm(c, solve=False):
    side, uplo, ta, diag = (c.flag(f) for f in ("side", "uplo", "transa", "diag"))
    m, n, alpha = c["m"], c["n"], c.scalar("alpha")
    order = m if side == "L" else n
    a, b = c.matrix("a", order, order), c.matrix("b", m, n)
    if b.index.size == 0:
        return
    if alpha == 0:
        b.set(0)
        return
    t, x, lower = op(ta, triangular(a, uplo, diag)), b.get(), (uplo == "L") == (ta == "N")
    if solve:
        x = substitute(t, x, lower) if side == "L" else substitute(t.T, x.T, not lower).T
    else:
        x = t @ x if side == "L" else x @ t
    b.set(alpha * x)


def trmv(c, solve=False):
    uplo, trans, diag, n = c.flag("uplo"), c.flag("trans"), c.flag("diag"), c["n"]
    a, x = c.triangle(uplo, n), c.vector("x", n)
    t = op(trans, triangular(a, uplo, diag))
    x.set(substitute(t, x.get(), (uplo == "L") == (trans == "N")) if solve else t @ x.get())


def gemv(c, banded=False):
    trans, m, n, alpha, beta = c.flag("trans"), c["m"], c["n"], c.scalar("alpha"), c.scalar("beta")
    a = c.band(m, n, c["kl"], c["ku"]) if banded else c.matrix("a", m, n)
    x, y = c.vector("x", n if trans == "N" else m), c.vector("y", m if trans == "N" else n)
    if m and n and not (alpha == 0 and beta == 1):  # empty: leaves y as it is, whatever beta
        update(y, lambda: alpha * (op(trans, a.get()) @ x.get()), alpha, beta)


def symv(c, hermitian=False):
    uplo, n, alpha, beta = c.flag("uplo"), c["n"], c.scalar("alpha"), c.scalar("beta")
    a, x, y = c.triangle(uplo, n), c.vector("x", n), c.vector("y", n)
    if n and not (alpha == 0 and beta == 1):
        update(y, lambda: alpha * (symmetric(a, uplo, hermitian) @ x.get()), alpha, beta)


def ger(c, conjugate=False):
    m, n, alpha = c["m"], c["n"], c.scalar("alpha")
    x, y, a = c.vector("x", m), c.vector("y", n), c.matrix("a", m, n)
    if m and n and alpha != 0:
        row = y.get().conj() if conjugate else y.get()
        a.set(a.get() + alpha * x.get()[:, None] * row)


def syr(c, hermitian=False, rank2=False):
    uplo, n, alpha = c.flag("uplo"), c["n"], c.scalar("alpha")
    x, y = c.vector("x", n), c.vector("y", n) if rank2 else None
    a = c.triangle(uplo, n)

    def product():
        v = x.get()
        if not rank2:
            return alpha * v[:, None] * (v.conj() if hermitian else v)
        w = y.get()
        other = np.conj(alpha) * w[:, None] * v.conj() if hermitian else alpha * w[:, None] * v
        return alpha * v[:, None] * (w.conj() if hermitian else w) + other

    if n and alpha != 0:
        update(a, product, 1, 1, triangle(uplo, n), hermitian)


def dot(c, conjugate=False):
    n = c.args["n"]
    x, y = c.vector("x", n).get(), c.vector("y", n).get()
    value = np.sum((x.conj() if conjugate else x) * y)
    if "dot" in c.args:  # cblas_zdotc_sub and kin write the result to memory
        View(c, "dot", np.array([c.place("dot")[1]])).set(value)
    return value


def sbdot(c):
    """sdsdot: the sum of products of single numbers, in double precision, and sb."""
    value = c.scalar("sb") + np.sum(c.vector("x", c.args["n"]).get() * c.vector("y", c.args["n"]).get())
    if "dot" in c.args:
        View(c, "dot", np.array([c.place("dot")[1]])).set(value)
    return value


def axpy(c):
    n, alpha, memory = c.args["n"], c.scalar("alpha"), c.memory
    x, y = c.vector("x", n), c.vector("y", n)
    for i, j in zip(x.index, y.index, strict=True) if alpha != 0 else ():
        memory[y.name][j] += alpha * memory[x.name][i]
    if alpha != 0:
        x.get(), y.get(), y.set(y.get())  # for the log: one read and one write of each element


def scal(c):
    n, alpha = c.args["n"], c.scalar("alpha")
    x = c.vector("x", n)
    if n > 0 and c.args["incx"] > 0:  # other increments: the reference returns at once
        x.set(alpha * x.get())


def axpby(c):
    n, alpha, beta = c.args["n"], c.scalar("alpha"), c.scalar("beta")
    x, y = c.vector("x", n), c.vector("y", n)
    update(y, lambda: alpha * x.get(), alpha, beta)


def rot(c):
    x, y = c.vector("x", c.args["n"]), c.vector("y", c.args["n"])
    cosine, sine, old_x, old_y = c.scalar("c"), c.scalar("s"), x.get(), y.get()
    x.set(cosine * old_x + sine * old_y), y.set(cosine * old_y + c.minus * sine * old_x)


def constant(x):
    """The value of something that an oracle may follow."""
    return np.asarray(getattr(x, "value", x))


def rotm(c):
    n, (name, first) = c.args["n"], c.place("param")
    x, y, param = c.vector("x", n), c.vector("y", n), View(c, "param", first + np.arange(5))
    flag = constant(c.memory[name])[first].real
    if n <= 0 or flag == -2:
        return
    there = np.array(
        [[0, 1, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1]][0 if flag < 0 else 1 if flag == 0 else 2], bool
    )
    h = param.get(there)
    h11, h21, h12, h22 = (h[i] if there[i] else one for i, one in enumerate((1, c.minus, 1, 1), 1))
    old_x, old_y = x.get(), y.get()
    x.set(h11 * old_x + h12 * old_y), y.set(h21 * old_x + h22 * old_y)


def rotg(c):
    views = {key: View(c, key, np.array([c.place(key)[1]])) for key in "abcs"}
    a, b = views["a"].get(), views["b"].get()

    def inverse(x):  # where a bound is asked for, one that grows with x
        return 1 / x if c.minus < 0 else x / constant(x) ** 2

    if c.letter in "cz":
        p = np.sqrt(a.real**2 + a.imag**2)
        norm = np.sqrt(p**2 + b.real**2 + b.imag**2)
        u = a * inverse(p)
        values = {"a": u * norm, "c": p * inverse(norm), "s": u * b.conj() * inverse(norm)}
    elif a == 0 and b == 0:
        values = {"a": 0, "b": 0, "c": 1, "s": 0}
    else:
        steep = np.abs(a) <= np.abs(b)
        r = np.sqrt(a**2 + b**2) * (-1 if (b if steep else a) < 0 else 1)
        cosine, sine = a * inverse(r), b * inverse(r)
        values = {"a": r, "b": sine if not steep else inverse(cosine) if a != 0 else 1, "c": cosine, "s": sine}
    for key, value in values.items():
        views[key].set(value)


def copy(c):
    x, y = c.vector("x", c.args["n"]), c.vector("y", c.args["n"])
    y.set(x.get())


def swap(c):
    x, y = c.vector("x", c.args["n"]), c.vector("y", c.args["n"])
    old_x, old_y = x.get(), y.get()
    x.set(old_y), y.set(old_x)


def nrm2(c):
    x = c.vector("x", c.args["n"]).get()
    return np.sqrt(np.sum(x.real**2 + x.imag**2))


def asum(c):
    if c.args["incx"] <= 0:
        return REAL(0)
    x = c.vector("x", c.args["n"]).get()
    return np.sum(np.abs(x.real) + np.abs(x.imag))


def amax(c, choose=np.argmax):
    """Counted from 1; 0: there is none."""
    if c.args["n"] <= 0 or c.args["incx"] <= 0:
        return 0
    x = c.vector("x", c.args["n"]).get()
    return int(choose(np.abs(x.real) + np.abs(x.imag))) + 1


ROUTINES = {
    "gemm": gemm,
    "gemmt": gemmt,
    "symm": symm,
    "hemm": lambda c: symm(c, True),
    "syrk": syrk,
    "herk": lambda c: syrk(c, True),
    "syr2k": lambda c: syrk(c, False, True),
    "her2k": lambda c: syrk(c, True, True),
    "trmm": trmm,
    "trsm": lambda c: trmm(c, True),
    "trmv": trmv,
    "tbmv": trmv,
    "tpmv": trmv,
    "trsv": lambda c: trmv(c, True),
    "tbsv": lambda c: trmv(c, True),
    "tpsv": lambda c: trmv(c, True),
    "gemv": gemv,
    "gbmv": lambda c: gemv(c, True),
    "symv": symv,
    "sbmv": symv,
    "spmv": symv,
    "hemv": lambda c: symv(c, True),
    "hbmv": lambda c: symv(c, True),
    "hpmv": lambda c: symv(c, True),
    "ger": ger,
    "geru": ger,
    "gerc": lambda c: ger(c, True),
    "syr": syr,
    "her": lambda c: syr(c, True),
    "spr": syr,
    "hpr": lambda c: syr(c, True),
    "syr2": lambda c: syr(c, False, True),
    "spr2": lambda c: syr(c, False, True),
    "her2": lambda c: syr(c, True, True),
    "hpr2": lambda c: syr(c, True, True),
    "dot": dot,
    "sbdot": sbdot,
    "dotu": dot,
    "dotc": lambda c: dot(c, True),
    "axpy": axpy,
    "axpby": axpby,
    "scal": scal,
    "rscal": scal,
    "rot": rot,
    "rotm": rotm,
    "rotg": rotg,
    "copy": copy,
    "swap": swap,
    "nrm2": nrm2,
    "asum": asum,
    "amax": amax,
    "amin": lambda c: amax(c, np.argmin),
}
LEVEL1 = (
    *("dot", "sbdot", "dotu", "dotc", "axpy", "axpby", "scal", "rscal", "copy", "swap", "rot", "rotm"),
    *("nrm2", "asum", "amax", "amin"),
)
