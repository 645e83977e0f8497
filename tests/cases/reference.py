#!/usr/bin/env python3
"""An oracle for the cases in this folder: what the shadows must hold, found without BLAS and without rules.

Each program is run on its buffers in extended precision with the memory semantics of the reference BLAS, the
Jacobian of "memory before -> memory after" is taken by central differences, and the literal numbers in the file
are compared with it. Nothing here knows an adjoint formula, so nothing here can share a mistake with one.

    python reference.py                 every case beside this file
    python reference.py DIR|FILE ...    those
    python reference.py --show FILE     the recomputed numbers, to write a new case

Only NumPy is needed. The format is described in README.md.
"""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
from primal import COMPLEX, LEVEL1, REAL, ROUTINES, Call, Refused, triangle

DTYPE = {"s": np.float32, "d": np.float64, "c": np.complex64, "z": np.complex128}
TABLES = ("seed", "seed_tangent", "tangent", "primal", "expect", "expect_tangent")
KINDS = ("reverse", "forward", "second-order", "raises", "interposition")
# Central difference of order 8: exact but for rounding on polynomials up to degree 8; with this step the truncation
# error on solves and norms of numbers near 1 is below 1e-19, the rounding error of 64-bit mantissas near 1e-17.
WEIGHTS, STEP = [REAL(4) / 5, REAL(-1) / 5, REAL(4) / 105, REAL(-1) / 280], REAL(2) ** -8


# ---------------------------------------------------------------- a case and its memory


def numbers(values, buffer, exact=False):
    """Literals (rows, or memory order; complex as "1+2j") as memory: in the buffer's dtype, or in full double."""
    kind = buffer["dtype"]
    flat = np.array(values, dtype=object)
    if flat.ndim == 2:
        flat = flat.reshape(buffer["shape"]).ravel(order=buffer.get("order", "F"))
    cast = complex if kind in "cz" else float
    return np.array([cast(v) for v in flat.ravel()], dtype=cast if exact else DTYPE[kind])


class Case:
    def __init__(self, path):
        self.path, data = Path(path), tomllib.loads(Path(path).read_text())
        self.__dict__.update({k: data.get(k) for k in ("title", "source", "kind", "why")})
        self.program, self.repeat = data["program"], data.get("repeat", 1)
        self.buffers, self.raises, self.returned = data["buffers"], data.get("raises"), data.get("returned")
        self.tables = {k: data.get(k, {}) for k in TABLES}
        assert self.kind in KINDS, f"{path}: kind"
        assert self.why, f"{path}: why"
        assert self.source, f"{path}: source"
        self.memory = {name: self.fill(name) for name in self.buffers}
        self.duplicated = [n for n, b in self.buffers.items() if b["activity"] == "duplicated"]

    def fill(self, name):
        """The initial content of a buffer, as one-dimensional memory of its own dtype."""
        b = self.buffers[name]
        count = int(np.prod(b["shape"]))
        if "random" in b:
            draw = np.random.default_rng(b["random"]).standard_normal(count * (2 if b["dtype"] in "cz" else 1))
            return (draw.view(complex) if b["dtype"] in "cz" else draw).astype(DTYPE[b["dtype"]])
        if "values" in b:
            return numbers(b["values"], b)
        return np.full(count, b.get("fill", 0.0), dtype=DTYPE[b["dtype"]])

    def table(self, which, name):
        """Shadow, tangent or expectation of a buffer as memory; zeros where the file says nothing."""
        values = self.tables[which].get(name)
        if values is None:
            return np.zeros_like(self.memory[name])
        return numbers(values, self.buffers[name], exact=which.startswith("expect"))

    def extended(self, finite=False):
        """A fresh copy of the memory in extended precision; `finite`: with a number in place of every NaN and Inf."""
        copy = {n: m.astype(COMPLEX if np.iscomplexobj(m) else REAL) for n, m in self.memory.items()}
        for memory in copy.values() if finite else ():
            memory[~np.isfinite(memory)] = 0.75
        return copy


# ---------------------------------------------------------------- the program, and what it may not do


def host(step, memory):
    """What the program does to memory without BLAS. Returns the elements it touched."""
    if step["host"] in ("write", "assign"):  # "assign" is declared to the tape, "write" is not
        name, first = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", step["to"]).groups()
        index = int(first or 0) + step.get("inc", 1) * np.arange(len(step["values"]))
        memory[name][index] = [complex(v) if np.iscomplexobj(memory[name]) else float(v) for v in step["values"]]
        return {(name, i) for i in index.tolist()}
    assert step["host"] == "mirror"  # NumPy after syrk: one triangle copied to the other
    name, n, ld = step["a"], step["n"], step["lda"]
    i, j = np.nonzero(triangle(step["uplo"], n, strict=True))
    memory[name][j + i * ld] = memory[name][i + j * ld]
    return {(name, k) for k in (j + i * ld).tolist()}


def run(case, memory):
    """Executes the program on `memory`; returns what its last call returned."""
    value = None
    for step in case.program * case.repeat:
        if "host" in step:
            host(step, memory)
        else:
            call = Call(step, memory)
            value = ROUTINES[call.family](call)
    return value


def findings(case):
    """Names of the errors of api.md that the program deserves: exact for the first three, a must for the last."""
    memory, found, seen = case.extended(), set(), set()
    active = {(n, i) for n in case.duplicated for i in range(memory[n].size)}
    for step in case.program * case.repeat:
        if "host" in step:
            before = {n: m.copy() for n, m in memory.items()}
            changed = {e for e in host(step, memory) if before[e[0]][e[1]] != memory[e[0]][e[1]]}
            if step["host"] != "assign" and any(case.buffers[n]["activity"] != "scratch" for n, i in changed & seen):
                found.add("UnseenWriteError")
            continue
        call = Call(step, memory)
        try:
            ROUTINES[call.family](call)
        except Refused as refused:
            found.add(refused.args[0])
            continue
        if call.poisoned:
            found.add(f"a NaN or Inf that {step['call']} reads")
        for key, written in call.writes.items():
            others = set().union(*(r for k, r in call.reads.items() if k != key and k not in ("alpha", "beta")))
            if call.family not in LEVEL1 and written & others:
                found.add("AliasError")
            if set().union(*call.reads.values()) & active:
                active |= written
                if any(case.buffers[n]["activity"] == "const" for n, i in written):
                    found.add("ActivityError")
            else:
                active -= written
        seen |= set().union(*call.reads.values(), *call.writes.values())
    return found


# ---------------------------------------------------------------- derivatives


def real(memory):
    """Memory as a vector of reals: a complex number is a pair."""
    return memory.view(REAL) if np.iscomplexobj(memory) else memory


def flat(case, which):
    """Shadows or tangents of every Duplicated buffer in one vector."""
    parts = [
        real(case.table(which, n).astype(COMPLEX if case.buffers[n]["dtype"] in "cz" else REAL))
        for n in case.duplicated
    ]
    return np.concatenate([*parts, [REAL(case.tables[which].get("return", 0))]])


def outcome(case, memory):
    """Memory of the Duplicated buffers after the program, and what its last call returned, in one vector."""
    value = run(case, memory)
    last = REAL(0) if value is None else np.real(value)
    return np.concatenate([*(real(memory[n]) for n in case.duplicated), [last]])


def central(function):
    """d function(t)/dt at 0. Components that do not move give an exact 0, also where they are NaN or Inf."""
    total = REAL(0)
    for k, weight in enumerate(WEIGHTS, 1):
        plus, minus = function(k * STEP), function(-k * STEP)
        still = (plus == minus) | (np.isnan(plus) & np.isnan(minus))
        total = total + weight * np.where(still, 0, plus - minus)
    return total / STEP


def jacobian(case, shift=None):
    """d(memory after, returned value)/d(memory before) over the Duplicated buffers, moved by `shift` first.

    NaN in the memory before must not matter (`findings` sees to it that no call reads one), so a number stands for it.
    """
    columns = []
    for name in case.duplicated:
        for i in range(real(case.extended()[name]).size):

            def moved(t, name=name, i=i):
                memory, at = case.extended(finite=True), 0
                for n in case.duplicated if shift is not None else ():
                    part = real(memory[n])
                    part += shift[at : at + part.size]
                    at += part.size
                real(memory[name])[i] += t
                return outcome(case, memory)

            columns.append(central(moved))
    return np.array(columns).T


def apply(matrix, vector):
    """matrix @ vector in which 0 times anything is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(matrix == 0, 0, matrix * vector).sum(axis=1)


def recompute(case):
    """{table: vector} for the tables of expectations that the case must have."""
    seed = flat(case, "seed")

    def reverse(t=None):
        shift = None if t is None else t * flat(case, "tangent")[:-1]
        shadows = seed if t is None else seed + t * flat(case, "seed_tangent")
        return np.append(apply(jacobian(case, shift).T, shadows), 0)

    if case.kind == "forward":
        return {"expect": apply(jacobian(case), seed[:-1])}
    if case.kind == "second-order":
        return {"expect": reverse(), "expect_tangent": central(reverse)}
    return {"expect": reverse()}


def verify(case, show=False):
    """One line of text about a case, and whether it holds."""
    found = findings(case)
    if case.raises and case.kind == "raises":
        return f"raises {case.raises}", case.raises in found
    if found - {"UnseenWriteError", case.raises}:
        return f"the program deserves {sorted(found)}", False
    worst, good = REAL(0), True
    for which, vector in recompute(case).items():
        if show:
            print(f"[{which}]", *(f"\n{n} = {v}" for n, v in pieces(case, vector)), sep="")
        missing = set(case.duplicated) - set(case.tables[which])
        stated = flat(case, which)
        with np.errstate(invalid="ignore"):
            error = np.abs(vector - stated) / np.maximum(1, np.abs(vector))
        error[(vector == stated) | (np.isnan(vector) & np.isnan(stated))] = 0
        worst, good = max(worst, np.nanmax(error)), good and not missing and not np.isnan(error).any()
    final = case.extended()
    value = run(case, final)
    good &= case.returned is None or abs(complex(value) - complex(case.returned)) < 1e-15
    for name in case.tables["primal"]:
        stated = case.table("primal", name)
        good &= np.allclose(
            final[name].astype(stated.dtype), stated, rtol=64 * np.finfo(stated.dtype).eps, atol=0, equal_nan=True
        )
    return f"error {float(worst):.0e}", good and worst < (1e-13 if case.kind == "second-order" else 4e-16)


def pieces(case, vector):
    """The recomputed vector by buffer, in memory order, as TOML literals."""
    start = 0
    for name in case.duplicated:
        part = vector[start : start + real(case.extended()[name]).size]
        start += part.size
        values = part.astype(float)
        complex_buffer = case.buffers[name]["dtype"] in "cz"
        yield name, [str(v).strip("()") for v in values.view(complex).tolist()] if complex_buffer else values.tolist()
    yield "return", float(vector[-1])


def main(arguments):
    show = "--show" in arguments
    roots = [Path(a) for a in arguments if a != "--show"] or [Path(__file__).parent]
    files = [f for r in roots for f in (sorted(r.glob("*.toml")) if r.is_dir() else [r])]
    failed = 0
    for path in files:
        case = Case(path)
        text, good = verify(case, show)
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {case.kind:13} {path.stem:40} {text}")
    print(f"{len(files)} cases, {failed} failed")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
