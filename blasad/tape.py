"""The tape: recording, replaying, and looking at what was recorded."""

import html
import sys
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Never, Self

from ._core import ffi, lib
from .activity import Mode, Reverse
from .errors import ActivityWarning, TapeError, UnsupportedError, check, text
from .memory import TYPES, Memory, describe

_LATER = {"assigned", "forget", "record", "returned", "save", "gradient", "buffers"}
_NAMES = {dtype: str(dtype) for dtype in TYPES}
_ACTIVITY = ("undeclared", "const", "duplicated", "scratch", "parts")


@dataclass(frozen=True)
class Operand:
    """One array operand of a recorded call, as the program named it.

    Attributes
    ----------
    name : str
        Of the argument, "a".
    address : int
    shape : tuple of int
        Of the stored matrix; row-major calls give row-major shapes.
    ld : int
        Leading dimension, in elements.
    role : {"in", "out", "inout", "unused"}
        What the call really did: with β = 0 an output is not read, with α = 0 inputs are unused.
    activity : {"duplicated", "const", "undeclared"}
    assumed : bool
        Nobody declared it, so that it was taken for constant.
    """

    name: str
    address: int
    shape: tuple[int, int]
    ld: int
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
        "dgemm", and the name through which it was called, "scipy_dgemm_64_".
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


def _flops(routine: str, dims: dict[str, int]) -> int:
    assert routine[1:] == "gemm"
    return 2 * dims["m"] * dims["n"] * dims["k"] * (4 if routine[0] in "cz" else 1)


class Tape:
    """Records the BLAS calls of the thread that enters its block, and differentiates them.

    Parameters
    ----------
    mode : {Reverse, Forward}
    threads : {"current"}
        ``"all"`` is not there yet.
    verify : bool
        Notice writes to annotated memory that no recorded call made (section 7). Costs some 4 bytes of memory and a
        few nanoseconds for each element of an operand.
    undeclared : {"warn", "error", "constant"}
        What to do about operands that nobody annotated: one :class:`ActivityWarning` when recording ends, an
        :class:`ActivityError` at the first, or only to list them in `assumptions`.
    copies, memory_limit
        ``"error"`` and None; other settings are not there yet.

    Examples
    --------
    >>> with Tape() as tape:
    ...     tape.duplicated(A, dA)
    ...     tape.duplicated(R, dR)
    ...     legacy_code()
    >>> tape.reverse()
    """

    def __init__(
        self,
        mode: Mode = Reverse,
        *,
        threads: Literal["current", "all"] = "current",
        verify: bool = True,
        undeclared: Literal["warn", "error", "constant"] = "warn",
        copies: Literal["error", "follow"] = "error",
        memory_limit: int | None = None,
    ) -> None:
        if not isinstance(mode, Mode):
            raise TypeError(f"mode is Reverse or Forward, not {mode!r}")
        if undeclared not in ("warn", "error", "constant"):
            raise ValueError(f'undeclared={undeclared!r}: it is "warn", "error" or "constant"')
        if threads not in ("current", "all"):
            raise ValueError(f'threads={threads!r}: it is "current" or "all"')
        if copies not in ("error", "follow"):
            raise ValueError(f'copies={copies!r}: it is "error" or "follow"')
        for name, here, default in (
            ("threads", threads, "current"),
            ("copies", copies, "error"),
            ("memory_limit", memory_limit, None),
        ):
            if here != default:
                raise UnsupportedError(
                    f"Tape({name}={here!r}) is not there yet in this version; leave it at {default!r}"
                )
        options = (0 if verify else lib.BLASAD_NO_VERIFY) | (
            lib.BLASAD_UNDECLARED_ERROR if undeclared == "error" else 0
        )
        self._tape = lib.blasad_tape_new(lib.BLASAD_REVERSE if mode is Reverse else lib.BLASAD_FORWARD, options)
        if self._tape == ffi.NULL:
            raise MemoryError(text(lib.blasad_last_error()))
        self._free = weakref.finalize(self, lib.blasad_tape_free, self._tape)
        self._kept: list[object] = []
        self._undeclared = undeclared
        self.mode = mode

    def __getattr__(self, name: str) -> Any:
        if name in _LATER:
            raise AttributeError(
                f"tape.{name} is not there yet in this version of blasad (README: what it does not do yet)"
            )
        raise AttributeError(f"a Tape has no attribute {name!r}")

    def __reduce__(self) -> Never:
        raise TypeError("a Tape cannot be copied or pickled: it owns what it recorded")

    # ---- recording

    def __enter__(self) -> Self:
        check(lib.blasad_tape_start(self._open))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tape is None:  # closed inside its block: nothing is left to end
            return
        code = lib.blasad_tape_close_recording(self._tape)
        if error is None:
            check(code)
            self._warn()

    @property
    def _open(self) -> Any:
        if self._tape is None:
            raise TapeError("this tape was closed: what it recorded is gone")
        return self._tape

    def _warn(self) -> None:
        if self._undeclared != "warn":
            return
        found = self.assumptions
        if not found:
            return
        lines = [str(a) for a in found[:5]] + [f"and {len(found) - 5} more (tape.assumptions)"] * (len(found) > 5)
        warnings.warn(
            "taken for constant, though nobody said so:\n  "
            + "\n  ".join(lines)
            + '\nAnnotate them (Const or Duplicated), or say undeclared="constant" if they are.',
            ActivityWarning,
            stacklevel=_outside(),
        )

    def duplicated(
        self,
        x: object,
        dx: object,
        *,
        nbytes: int | None = None,
        count: int | None = None,
        dtype: object = None,
        name: str = "x",
    ) -> None:
        """Annotates memory and its shadow; any time before the first use.

        Parameters
        ----------
        x, dx, nbytes, count, dtype
            As for :class:`Duplicated`.
        name : str
            How messages call it.

        Raises
        ------
        TypeError, ValueError
            The pair does not fit, or overlaps what was annotated before.
        TapeError
            A recorded call has touched the memory already.
        """
        primal = describe(x, name, nbytes=nbytes, count=count, dtype=dtype)
        shadow = describe(dx, f"the shadow of {name}", nbytes=nbytes, count=count, dtype=dtype)
        _check_pair(name, primal, shadow)
        self._annotate(name, "Duplicated", primal, shadow)

    def const(
        self,
        x: object,
        *,
        nbytes: int | None = None,
        count: int | None = None,
        dtype: object = None,
        name: str = "x",
    ) -> None:
        """Annotates memory as constant. Parameters and errors as for :meth:`duplicated`."""
        self._annotate(name, "Const", describe(x, name, nbytes=nbytes, count=count, dtype=dtype), None)

    def _annotate(self, name: str, kind: str, primal: Memory, shadow: Memory | None) -> None:
        size = " x ".join(map(str, primal.shape)) or "scalar"
        what = f"{size} bytes" if primal.dtype is None else f"{_NAMES[primal.dtype]} {size}"
        shadows = [] if shadow is None else [ffi.cast("void *", shadow.address)]
        check(
            lib.blasad_annotate(
                self._open,
                ffi.cast("void *", primal.address),
                len(shadows),
                shadows,
                False,
                *_array(primal),
                f"{name} ({kind}, {what})".encode(),
            )
        )
        self._kept += [primal.owner] if shadow is None else [primal.owner, shadow.owner]

    # ---- replaying

    def reverse(self) -> None:
        """Replays the adjoints of the recorded calls, last first, on the shadows.

        Repeatable: seed the shadows again and call again. On an error every shadow is as it was.

        Raises
        ------
        BlasadError
            What was found while recording, or an `UnseenWriteError` found now.
        TapeError
            Inside the tape's own block, or in forward mode.
        """
        check(lib.blasad_reverse(self._open))

    def close(self) -> None:
        """Gives everything back; also done when the tape is garbage. The tape is of no use afterwards."""
        if self._tape is not None:
            check(lib.blasad_tape_free(self._tape))
            self._free.detach()
            self._tape = None
            self._kept.clear()

    # ---- looking at it

    def __len__(self) -> int:
        return int(lib.blasad_tape_length(self._open))

    def __iter__(self) -> Iterator[Call]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Call:
        if not -len(self) <= index < len(self):
            raise IndexError(f"call {index} of a tape of {len(self)}")
        index %= len(self)
        c = ffi.new("blasad_call *")
        check(lib.blasad_tape_call(self._open, index, c))
        letter = "sdcz"[c.type]
        names = [text(c.scalar_names[i]) for i in range(c.n_scalars)]
        dims = {text(c.dim_names[i]): int(c.dims[i]) for i in range(c.n_dims)}
        routine = letter + text(c.routine)
        operands = tuple(_operand(c.operands[i]) for i in range(c.n_operands))
        size = {"s": 4, "d": 8, "c": 8, "z": 16}[letter]
        return Call(
            index=index,
            routine=routine,
            symbol=text(c.symbol),
            caller=text(c.caller) or None,
            row_major=bool(c.row_major),
            flags={text(c.flag_names[i]): c.flags[i].decode() for i in range(c.n_flags)},
            dims=dims,
            scalars={
                n: complex(*c.scalars[i]) if letter in "cz" else float(c.scalars[i][0]) for i, n in enumerate(names)
            },
            active_scalars=tuple(n for i, n in enumerate(names) if c.scalar_active[i]),
            operands=operands,
            flops=_flops(routine, dims),
            bytes=sum(o.shape[0] * o.shape[1] * size for o in operands),
            seconds=float(c.seconds) if c.seconds >= 0 else None,
            saved_bytes=int(c.saved_bytes),
        )

    @property
    def assumptions(self) -> list[Assumption]:
        """The operands that were taken for constant, with call and caller (section 7)."""
        found = []
        index = lib.blasad_tape_assuming(self._open, 0)
        while index < len(self):
            call = self[index]
            for o in call.operands:
                if o.assumed:
                    shape = " x ".join(map(str, o.shape))
                    where = f", called from {call.caller}" if call.caller else ""
                    found.append(Assumption(call, o, f"operand {o.name} ({shape} at {o.address:#x}) of {call}{where}"))
            index = lib.blasad_tape_assuming(self._open, index + 1)
        for label in text(lib.blasad_tape_unexplained(self._open)).splitlines():
            found.append(
                Assumption(None, None, f"{label}: changed while recording, though no recorded call touched it")
            )
        return found

    @property
    def saved_bytes(self) -> int:
        """Bytes of values that were saved for adjoints (section 6)."""
        return int(lib.blasad_tape_saved_bytes(self._open))

    def _rows(self) -> list[list[str]]:
        rows = [["#", "routine", "flags", "sizes", "operands", "scalars", "saved", "through"]]
        for c in self:
            rows.append(
                [
                    str(c.index),
                    c.routine,
                    " ".join(c.flags.values()) + (" row-major" if c.row_major else ""),
                    " ".join(f"{k}={v}" for k, v in c.dims.items()),
                    " ".join(f"{o.name}:{_mark(o)}" for o in c.operands),
                    " ".join(f"{k}={v:.6g}{'*' if k in c.active_scalars else ''}" for k, v in c.scalars.items()),
                    f"{c.saved_bytes} B" if c.saved_bytes else "-",
                    c.symbol,
                ]
            )
        return rows

    def __repr__(self) -> str:
        if self._tape is None:
            return f"<closed Tape({self.mode!r})>"
        return f"<Tape({self.mode!r}) of {len(self)} calls, {self.saved_bytes} bytes saved>"

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, _LEGEND])

    def _repr_html_(self) -> str:
        head, *body = [[html.escape(cell) for cell in row] for row in self._rows()]
        cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in body)
        return f"<table><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>{cells}</table><p>{html.escape(_LEGEND)}</p>"


_LEGEND = "dup: has a shadow; const: annotated; assumed: taken for constant, nobody said so; *: active scalar"


def _mark(o: Operand) -> str:
    if o.assumed:
        return "assumed"
    return {"duplicated": "dup", "undeclared": "-"}.get(o.activity, o.activity)


def _operand(o: Any) -> Operand:
    role = ("inout" if o.is_read else "out") if o.is_output else ("in" if o.is_read else "unused")
    return Operand(
        name=text(o.name),
        address=int(ffi.cast("uintptr_t", o.address)),
        shape=(int(o.rows), int(o.cols)),
        ld=int(o.ld),
        role=role,
        activity=_ACTIVITY[o.activity],
        assumed=bool(o.assumed),
    )


def _check_pair(name: str, x: Memory, dx: Memory) -> None:
    way_out = "blasad.shadow(x) makes a shadow that fits"
    for what, a, b in (("dtype", x.dtype, dx.dtype), ("shape", x.shape, dx.shape)):
        if a != b:
            raise ValueError(f"{name} has {what} {a}, its shadow {b}; {way_out}")
    if any(a != b for a, b, n in zip(x.strides, dx.strides, x.shape, strict=True) if n > 1) and x.nbytes:
        raise ValueError(f"{name} has strides {x.strides}, its shadow {dx.strides} (bytes); {way_out}")
    if not dx.writable:
        raise ValueError(f"the shadow of {name} is read-only; {way_out}")


def _array(x: Memory) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """Type, number of axes, shape and strides, as the C interface takes them."""
    return lib.BLASAD_BYTES if x.dtype is None else TYPES[x.dtype], len(x.shape), x.shape, x.strides


def _outside() -> int:
    """The stack level of the first frame that is not blasad's own."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("blasad."):
        level, frame = level + 1, frame.f_back
    return level
