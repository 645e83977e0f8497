"""Recorded calls, as Python sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._core import ffi, lib
from .errors import check, text

_ACTIVITY = ("undeclared", "const", "duplicated", "scratch", "parts")
_MARKS = {"duplicated": "dup", "undeclared": "-"}
LEGEND = (
    "dup: has a shadow; scratch: has one of blasad's own; parts: of several owners, some with a shadow; "
    "const: annotated; assumed: taken for constant, nobody said so; *: active scalar"
)
# Records of what nobody called have no more of a call than the memory that they are about.
_UNCALLED = {
    ("mscal", "tape.assigned"): "assigned",
    ("mscal", "tape.forget"): "forget",
    ("maxpby", "a copy"): "copy",
    ("operation", "tape.record"): "record",
}
# Multiplications and additions, from the dimensions m, n, k and the order of the matrix that stands on a side; of a band,
# the number of its elements takes that place.
_OPERATIONS: dict[str, Callable[[int, int, int, int], tuple[int, int]]] = {
    "swap": lambda m, n, k, order: (0, 0),
    "copy": lambda m, n, k, order: (0, 0),
    "scal": lambda m, n, k, order: (n, 0),
    "rscal": lambda m, n, k, order: (0, n),
    "axpy": lambda m, n, k, order: (n, n),
    "axpby": lambda m, n, k, order: (2 * n, n),
    "rot": lambda m, n, k, order: (0, 6 * n),  # products with real numbers, as those of rscal
    "rotm": lambda m, n, k, order: (0, 6 * n),
    "rotg": lambda m, n, k, order: (5, 1),
    "rotmg": lambda m, n, k, order: (12, 1),
    "wdot": lambda m, n, k, order: (n, max(0, n - 1)),
    "sbdot": lambda m, n, k, order: (n, n),
    "dot": lambda m, n, k, order: (n, max(0, n - 1)),
    "dotu": lambda m, n, k, order: (n, max(0, n - 1)),
    "dotc": lambda m, n, k, order: (n, max(0, n - 1)),
    "nrm2": lambda m, n, k, order: (n, max(0, n - 1)),
    "asum": lambda m, n, k, order: (0, max(0, n - 1)),
    "gemv": lambda m, n, k, order: (m * n, m * n),
    "ger": lambda m, n, k, order: (m * n, m * n),
    "geru": lambda m, n, k, order: (m * n, m * n),
    "gerc": lambda m, n, k, order: (m * n, m * n),
    "gbmv": lambda m, n, k, order: (order, order),
    "symv": lambda m, n, k, order: (n * n, n * n),
    "sbmv": lambda m, n, k, order: (2 * order - n,) * 2,
    "spmv": lambda m, n, k, order: (n * n, n * n),
    "hemv": lambda m, n, k, order: (n * n, n * n),
    "hbmv": lambda m, n, k, order: (2 * order - n,) * 2,
    "hpmv": lambda m, n, k, order: (n * n, n * n),
    "syr": lambda m, n, k, order: (n * (n + 1) // 2,) * 2,
    "spr": lambda m, n, k, order: (n * (n + 1) // 2,) * 2,
    "syr2": lambda m, n, k, order: (n * (n + 1),) * 2,
    "spr2": lambda m, n, k, order: (n * (n + 1),) * 2,
    "her": lambda m, n, k, order: (n * (n + 1) // 2,) * 2,
    "hpr": lambda m, n, k, order: (n * (n + 1) // 2,) * 2,
    "her2": lambda m, n, k, order: (n * (n + 1),) * 2,
    "hpr2": lambda m, n, k, order: (n * (n + 1),) * 2,
    "trmv": lambda m, n, k, order: (n * (n + 1) // 2, n * (n - 1) // 2),
    "tbmv": lambda m, n, k, order: (order, order - n),
    "tpmv": lambda m, n, k, order: (n * (n + 1) // 2, n * (n - 1) // 2),
    "trsv": lambda m, n, k, order: (n * (n + 1) // 2, n * (n - 1) // 2),
    "tbsv": lambda m, n, k, order: (order, order - n),
    "tpsv": lambda m, n, k, order: (n * (n + 1) // 2, n * (n - 1) // 2),
    "gemm": lambda m, n, k, order: (m * n * k,) * 2,
    "gemmt": lambda m, n, k, order: (k * n * (n + 1) // 2,) * 2,
    "symm": lambda m, n, k, order: (m * n * order,) * 2,
    "hemm": lambda m, n, k, order: (m * n * order,) * 2,
    "syrk": lambda m, n, k, order: (k * n * (n + 1) // 2,) * 2,
    "herk": lambda m, n, k, order: (k * n * (n + 1) // 2,) * 2,
    "syr2k": lambda m, n, k, order: (k * n * (n + 1),) * 2,
    "her2k": lambda m, n, k, order: (k * n * (n + 1),) * 2,
    "trmm": lambda m, n, k, order: (m * n * (order + 1) // 2, m * n * (order - 1) // 2),
    "trsm": lambda m, n, k, order: (m * n * (order + 1) // 2, m * n * (order - 1) // 2),
    "mscal": lambda m, n, k, order: (m * n, 0),
    "maxpby": lambda m, n, k, order: (2 * m * n, m * n),
    "mconj": lambda m, n, k, order: (0, 0),
    "mdot": lambda m, n, k, order: (m * n,) * 2,
    "vaxpby": lambda m, n, k, order: (2 * n, n),
    "vdot": lambda m, n, k, order: (n, n),
    "vsign": lambda m, n, k, order: (0, 0),
    "quot": lambda m, n, k, order: (1, 0),
}


@dataclass(frozen=True)
class Operand:
    """One array operand of a recorded call, as the program named it.

    Attributes
    ----------
    name : str
        Of the argument, "a".
    address : int
    shape : tuple of int
        Of the stored matrix; row-major calls give row-major shapes. (n, 1) for a vector.
    ld : int
        Leading dimension, in elements; the increment of a vector.
    vector : bool
    role : {"in", "out", "inout", "unused"}
        What the call really did: with β = 0 an output is not read, with α = 0 inputs are unused.
    activity : {"duplicated", "const", "undeclared", "scratch", "parts"}
        "scratch" is undeclared memory that held active values, "parts" an operand of several owners, some active.
    assumed : bool
        Nobody declared it, so that it was taken for constant.
    """

    name: str
    address: int
    shape: tuple[int, int]
    ld: int
    vector: bool
    role: str
    activity: str
    assumed: bool


@dataclass(frozen=True)
class Call:
    """A recorded call.

    Attributes
    ----------
    index : int
        Position on the tape.
    routine, symbol : str
        "dgemm", and the name through which it was called, "scipy_dgemm_64_". Listed as well are
        announcements, "assigned", "forget" and "record"; a "copy" that was followed; and what a tape inside this one did
        to numbers, "dmaxpby" for instance.
    caller : str or None
        The file of the library that made the call.
    row_major : bool
    flags, dims : dict
        By the Fortran names of the arguments.
    scalars : dict
        Values; `active_scalars` names those that have a shadow.
    operands : tuple of Operand
    flops, bytes : int
        Of the call itself: real additions and multiplications; bytes of its operands, each counted once.
    seconds : float or None
        None for calls too short to be timed without being felt.
    saved_bytes : int
        Of values that were saved at this call for an adjoint, its own or an earlier call's.
    """

    index: int
    routine: str
    symbol: str
    caller: str | None
    row_major: bool
    flags: dict[str, str]
    dims: dict[str, int]
    scalars: dict[str, float | complex]
    active_scalars: tuple[str, ...]
    operands: tuple[Operand, ...]
    flops: int
    bytes: int
    seconds: float | None
    saved_bytes: int

    def __str__(self) -> str:
        sizes = " ".join(f"{k}={v}" for k, v in self.dims.items())
        return f"call {self.index}: {self.routine}({''.join(self.flags.values())}, {sizes})"


@dataclass(frozen=True)
class Assumption:
    """Something that was taken for constant without a word from anybody (section 7).

    Attributes
    ----------
    call : Call or None
        None for annotated memory that changed while recording though no recorded call touched it.
    operand : Operand or None
    text : str
        The same in words.
    """

    call: Call | None
    operand: Operand | None
    text: str

    def __str__(self) -> str:
        return self.text


def read_call(tape: Any, index: int) -> Call:
    """Call `index` of a tape of the C core."""
    c = ffi.new("blasad_call *")
    check(lib.blasad_tape_call(tape, index, c))
    letter = "sdcz"[c.type]
    routine, symbol = text(c.routine), text(c.symbol)
    uncalled = _UNCALLED.get((routine, symbol))
    names = [] if uncalled else [text(c.scalar_names[i]) for i in range(c.n_scalars)]
    dims = {text(c.dim_names[i]): int(c.dims[i]) for i in range(c.n_dims)}
    flags = {text(c.flag_names[i]): c.flags[i].decode() for i in range(c.n_flags)}
    operands = tuple(_operand(c.operands[i]) for i in range(c.n_operands))
    size = {"s": 4, "d": 8, "c": 8, "z": 16}[letter]
    return Call(
        index=index,
        routine=uncalled or text(c.name),
        symbol=symbol,
        caller=text(c.caller) or None,
        row_major=bool(c.row_major),
        flags={} if uncalled else flags,
        dims=dims,
        scalars={n: c.scalars[i][0] if c.scalar_real[i] else complex(*c.scalars[i]) for i, n in enumerate(names)},
        active_scalars=tuple(n for i, n in enumerate(names) if c.scalar_active[i]),
        operands=operands,
        flops=0 if uncalled else _flops(routine, letter in "cz", dims, flags),
        bytes=sum(int(c.operands[i].elements) for i in range(c.n_operands)) * size,
        seconds=float(c.seconds) if c.seconds >= 0 else None,
        saved_bytes=int(c.saved_bytes),
    )


def _flops(routine: str, is_complex: bool, dims: dict[str, int], flags: dict[str, str]) -> int:
    """As the table of LAPACK Working Note 41, appendix C, counts them; conjugations and unit diagonals are not."""
    m, n, k = (max(0, dims.get(d, 0)) for d in "mnk")
    order = m if flags.get("side") == "L" else n
    if "kl" in dims:
        order = _elements(m, n, dims["kl"], dims["ku"])
    elif routine[1:] in ("bmv", "bsv"):
        order = _elements(n, n, k, 0)
    multiplications, additions = _OPERATIONS[routine](m, n, k, order)
    return 6 * multiplications + 2 * additions if is_complex else multiplications + additions


def _elements(m: int, n: int, kl: int, ku: int) -> int:
    """Of a matrix on so many diagonals below and above the main one: all but the triangles beyond them."""

    def beyond(longest: int, columns: int) -> int:
        return sum(sign * x * (x + 1) // 2 for sign, x in ((1, longest), (-1, longest - columns)) if x > 0)

    return m * n - beyond(m - 1 - kl, n) - beyond(n - 1 - ku, m)


def _operand(o: Any) -> Operand:
    role = ("inout" if o.is_read else "out") if o.is_output else ("in" if o.is_read else "unused")
    return Operand(
        name=text(o.name),
        address=int(ffi.cast("uintptr_t", o.address)),
        shape=(int(o.rows), int(o.cols)),
        ld=int(o.ld),
        vector=bool(o.is_vector),
        role=role,
        activity=_ACTIVITY[o.activity],
        assumed=bool(o.assumed),
    )


def _mark(o: Operand) -> str:
    if o.assumed and o.activity == "undeclared":
        return "assumed"
    return _MARKS.get(o.activity, o.activity) + (",assumed" if o.assumed else "")


HEAD = ["#", "routine", "flags", "sizes", "operands", "scalars", "saved", "through"]


def row(c: Call) -> list[str]:
    """A call as a row of the table under `HEAD`."""
    return [
        str(c.index),
        c.routine,
        " ".join(c.flags.values()) + (" row-major" if c.row_major else ""),
        " ".join(f"{k}={v}" for k, v in c.dims.items()),
        " ".join(f"{o.name}:{_mark(o)}" for o in c.operands),
        " ".join(f"{k}={v:.6g}{'*' if k in c.active_scalars else ''}" for k, v in c.scalars.items()),
        f"{c.saved_bytes} B" if c.saved_bytes else "-",
        c.symbol,
    ]
