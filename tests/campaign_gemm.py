"""A gemm of the campaign in closed form: fast enough for very many programs."""

from typing import Any

import numpy as np
from campaign_cells import Bits, Derivative, Footprint, bits_of
from campaign_program import Call, Place, width


def op(flag: str, x: np.ndarray) -> np.ndarray:
    """Of a matrix, or of one a direction."""
    return x if flag == "N" else x.swapaxes(-1, -2) if flag == "T" else x.conj().swapaxes(-1, -2)


def index(p: Place, row_major: bool) -> np.ndarray:
    down, right = (p.ld, 1) if row_major else (1, p.ld)
    rows, cols = (p.cols, p.rows) if row_major else (p.rows, p.cols)
    return p.base + p.item * (down * np.arange(rows)[:, None] + right * np.arange(cols))


def footprint(call: Call, memory: np.ndarray, active_cells: Bits) -> Footprint:
    w = width(call.letter)
    at = {key: index(p, call.row_major) for key, p in call.places().items()}
    bits = {}
    for key, cells in at.items():
        one = bits_of(cells.ravel().tolist())
        bits[key] = one | one << 1 if w == 2 else one
    value: dict[str, complex] = {}
    scalars = {}
    some, inner = call["m"] > 0 and call["n"] > 0, call["k"] > 0
    for key, given in call.scalars.items():
        value[key] = given  # type: ignore[assignment]
        if isinstance(given, str):
            cell = int(given[1:])
            value[key] = complex(*memory[cell : cell + w].tolist()) if w == 2 else float(memory[cell])
            if given[0] == "@":
                at[key] = np.array([[cell]])
                bits[key] = ((1 << w) - 1) << cell
                if bits[key] & active_cells and some and (key == "beta" or inner):
                    scalars[key] = bits[key]
        elif call.letter in "sc":
            value[key] = complex(np.complex64(given)) if w == 2 else float(np.float32(given))
    alpha, beta = value["alpha"], value["beta"]
    product = some and inner and (alpha != 0 or "alpha" in scalars)
    early = not some or ((not inner or alpha == 0) and beta == 1)
    reads = {key: bits[key] for key in "ab"} if product else {}
    if (not early and beta != 0) or "beta" in scalars or (scalars and beta != 0):
        reads["c"] = bits["c"]
    with_shadow = frozenset(key for key, b in reads.items() if b & active_cells)
    needs = 0
    for key, other in ("ab", "ba"):
        if product and ("alpha" in scalars or (alpha != 0 and other in with_shadow)):
            needs |= bits[key]
    if "beta" in scalars:
        needs |= bits["c"]
    return Footprint(
        at,
        bits,
        value,
        scalars,
        reads,
        writes=0 if early else bits["c"],
        results={"c": bits["c"] if not early or scalars else 0},
        with_shadow=with_shadow,
        needs=needs,
        whole=frozenset("abc"),
    )


def push(call: Call, f: Footprint, memory: np.ndarray, d: Derivative) -> None:
    """The product rule."""
    w, alpha, beta = width(call.letter), f.value["alpha"], f.value["beta"]
    ta, tb = call["transa"], call["transb"]

    def value(key: str) -> np.ndarray:
        at = f.at[key]
        return memory[at] + 1j * memory[at + 1] if w == 2 else memory[at]

    def change(key: str) -> np.ndarray:
        at = f.at[key]
        return d.by[:, at] + 1j * d.by[:, at + 1] if w == 2 else d.by[:, at]

    def size(key: str) -> np.ndarray:
        at = f.at[key]
        return d.bound[at] + d.bound[at + 1] if w == 2 else d.bound[at]

    out: Any = 0
    bound: Any = 0
    if "a" in f.reads and call["k"] > 0:
        a, b = op(ta, value("a")), op(tb, value("b"))
        large_a, large_b = (np.abs(x.real) + np.abs(x.imag) for x in (a, b))
        if alpha != 0:
            out = alpha * (op(ta, change("a")) @ b + a @ op(tb, change("b")))
            bound = abs(alpha) * (_flip(ta, size("a")) @ large_b + large_a @ _flip(tb, size("b")))
        if "alpha" in f.scalars:
            out = out + change("alpha") * (a @ b)
            bound = bound + size("alpha") * (large_a @ large_b)
    if beta != 0:
        out = out + beta * change("c")
        bound = bound + abs(beta) * size("c")
    if "beta" in f.scalars:
        c = value("c")
        out = out + change("beta") * c
        bound = bound + size("beta") * (np.abs(c.real) + np.abs(c.imag))
    at = f.at["c"]
    d.by[:, at] = np.real(out)
    d.bound[at] = bound
    if w == 2:
        d.by[:, at + 1] = np.imag(out)
        d.bound[at + 1] = bound


def _flip(flag: str, x: np.ndarray) -> np.ndarray:
    return x if flag == "N" else x.T


def wanted(call: Call, f: Footprint, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that it writes, and what they are then."""
    w, at = width(call.letter), f.at["c"]
    a, b, c = (old[f.at[k]] + 1j * old[f.at[k] + 1] if w == 2 else old[f.at[k]] for k in "abc")
    alpha, beta = f.value["alpha"], f.value["beta"]
    want = beta * c if beta != 0 else np.zeros(c.shape)
    if alpha != 0 and call["k"] > 0:
        want = want + alpha * (op(call["transa"], a) @ op(call["transb"], b))
    return (np.stack([at, at + 1]), np.stack([np.real(want), np.imag(want)])) if w == 2 else (at, want)
