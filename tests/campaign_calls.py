"""Calls of any routine in the campaign: what they touch and what their derivative is, by tracing the interpreter."""

import numpy as np
from campaign_anatomy import SOLVES, anatomy, in_order, needed, operands_in
from campaign_cells import Bits, Derivative, Footprint, bits_of, cells_of, union
from campaign_program import Call, width
from oracles import ARGUMENTS, COMPLEX, REAL, Step
from tracing import Traced


def elements(memory: np.ndarray, w: int) -> np.ndarray:
    """The arena as the call's numbers."""
    return memory.astype(REAL).view(COMPLEX if w == 2 else REAL)


def _step(call: Call) -> Step:
    """On the buffers M, the arena, and one of its own for each scalar."""
    step: Step = {"call": call.routine} | ({"layout": "row"} if call.row_major else {})
    for key, value in call.args:
        if key in operands_in(call.family):
            step[key] = f"M[{value // width(call.letter)}]"
        else:
            step[key] = key if key in call.scalars else value
    return step


def _scalar(call: Call, key: str, memory: np.ndarray) -> np.ndarray:
    """Its value, as one number of the interpreter's."""
    given, w = call.scalars[key], call.scalar_width(key)
    if isinstance(given, str):
        cell = int(given[1:])
        return elements(memory[cell : cell + w], w)
    narrow = np.complex128(given) if w == 2 else np.float64(np.real(given))
    if call.letter in "sc":
        narrow = np.complex64(narrow) if w == 2 else np.float32(narrow)
    return np.array([narrow]).astype(COMPLEX if w == 2 else REAL)


def footprint(call: Call, memory: np.ndarray, active_cells: Bits) -> Footprint:
    w, shape = width(call.letter), anatomy(call.family, call.letter, call.row_major, call.sizes())
    start = {"M": elements(memory, w)} | {key: _scalar(call, key, memory) for key in call.scalars}
    bits: dict[str, Bits] = {}
    scalars = {}
    for key, given in call.scalars.items():
        if isinstance(given, str) and given[0] == "@":
            bits[key] = ((1 << call.scalar_width(key)) - 1) << int(given[1:])
            if bits[key] & active_cells and key in shape.counts:
                scalars[key] = bits[key]
    trace = Traced(_step(call), start, scalars.keys())
    called = [trace.call] + ([trace.still.call] if trace.still else [])

    def cells(touched: str, key: str) -> Bits:
        found = {i for c in called for _, i in getattr(c, touched).get(key, ())}
        return bits_of(w * i + part for i in found for part in range(w))

    at = {}
    for key, view in trace.call.views.items():
        matrix = view.index.ndim == 2 and key != "ap"
        stored = np.unique(view.index[view.stored])
        at[key] = w * (view.index if matrix else stored)  # vectors and packed triangles as they lie
        bits[key] = bits_of(c for i in stored.tolist() for c in range(w * i, w * i + w))
    reads = {key: b for key in at if (b := cells("reads", key))}
    results = {key: cells("writes", key) for key in shape.outputs}
    really = trace.still.call if trace.still else trace.call
    writes = bits_of(w * i + part for found in really.writes.values() for _, i in found for part in range(w))
    with_shadow = frozenset(key for key, b in reads.items() if b & active_cells)
    before, after = _needs(call, reads, with_shadow, frozenset(scalars), start)
    return Footprint(
        at,
        bits,
        {key: complex(start[key][0]) for key in call.scalars},
        scalars,
        reads,
        writes,
        results,
        with_shadow,
        needs=union(reads[key] for key in before),
        left=union(results[key] for key in after),
        whole=frozenset(key for key, part in shape.operands.items() if not part.without),
        trace=trace,
    )


def _needs(
    call: Call, reads: dict[str, Bits], with_shadow: frozenset[str], scalars: frozenset[str], start: dict
) -> tuple[list[str], list[str]]:
    if not (with_shadow or scalars) or not reads:
        return [], []
    special = tuple(float(x.real) if (x := start[key][0]) in (0, 1) else 0.75 for key in call.scalars)
    before, after = needed(call.family, call.letter, call.sizes(), special, with_shadow, scalars)
    return [key for key in before if key in reads], [key for key in after if key in reads]


def sane(call: Call, memory: np.ndarray) -> bool:
    """Whether a solve does not make rounding errors large, and the BLAS makes no difference between equal inputs."""
    if call.family == "gemmt" and call.letter in "cz":  # OpenBLAS conjugates B where it is, and back
        own = [set(p.cells()) for p in call.places().values()]
        cells = [int(x[1:]) for x in call.scalars.values() if isinstance(x, str)]
        return not own[0] & own[1] and not own[1] & set(cells)
    if call.family not in SOLVES or call["diag"] == "U":
        return True
    unit = anatomy(call.family, call.letter, call.row_major, in_order(call.family, dict(call.sizes()) | {"diag": "U"}))
    p = call.places()["a" if "a" in ARGUMENTS[call.family].split() else "ap"]
    strict = next(iter(unit.operands.values())).without
    w = width(call.letter)
    diagonal = [p.base + w * (i + p.ld * j) for i, j in strict - p.without]
    return all(np.abs(memory[c : c + w]).max() > 0.2 for c in diagonal)


def push(call: Call, f: Footprint, memory: np.ndarray, d: Derivative) -> None:
    """By the Jacobian of the call, a row for each cell that it changes."""
    rows = cells_of(f.result)
    start = f.trace.start
    jacobian = np.zeros((len(rows), len(memory)))
    of_scalars = {key: np.zeros((len(rows), call.scalar_width(key))) for key in f.scalars}
    w = width(call.letter)
    for row, cell in enumerate(rows):
        seed = {n: np.zeros_like(x.value) for n, x in start.items()}
        seed["M"][cell // w] = 1j if w == 2 and cell % 2 else 1
        pulled = f.trace.pull(seed)
        jacobian[row] = pulled["M"].view(REAL)
        for key, at in of_scalars.items():
            at[row] = pulled[key].view(REAL)
    new, bound = d.by @ jacobian.T, d.bound @ np.abs(jacobian).T
    for key, part in of_scalars.items():
        at = cells_of(f.scalars[key])
        new += d.by[:, at] @ part.T
        bound += d.bound[at] @ np.abs(part).T
    d.by[:, rows], d.bound[rows] = new, bound


def wanted(call: Call, f: Footprint, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that it writes, and what they are then."""
    really = f.trace.still or f.trace
    at = np.array(cells_of(f.writes))
    return at, really.after["M"].view(REAL)[at].astype(float)
