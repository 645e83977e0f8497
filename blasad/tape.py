"""The tape: recording, replaying, and looking at what was recorded."""

import contextlib
import html
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Never, Self

from ._core import ffi, lib
from .activity import Mode, Reverse
from .calls import HEAD, LEGEND, Assumption, Call, read_call, row
from .errors import ActivityWarning, TapeError, check, kept, taken, text
from .memory import TYPES, Memory, describe
from .operations import Array, Operation, array_of, let_go
from .returned import Returned, find

_LATER = {
    "save": "README: what it does not do yet",
    "gradient": "README: what it does not do yet",
    "buffers": "README: what it does not do yet",
}
_NAMES = {dtype: str(dtype) for dtype in TYPES}


class _Here(threading.local):
    """The tapes that this thread has opened for itself, by where they are in the C core."""

    def __init__(self) -> None:
        self.tapes: weakref.WeakValueDictionary[int, Tape] = weakref.WeakValueDictionary()


_here = _Here()
_everywhere: weakref.WeakValueDictionary[int, "Tape"] = weakref.WeakValueDictionary()  # those of all threads


def current_tape() -> "Tape | None":
    """The innermost tape that records the calling thread; None if none does. For use inside `f`."""
    key = _key(lib.blasad_current_tape())
    return _here.tapes.get(key) or _everywhere.get(key)


def _recording() -> "list[Tape]":
    """The tapes that record the calling thread."""
    known = [ref() for tapes in (_here.tapes, _everywhere) for ref in tapes.valuerefs()]
    return [t for t in known if t is not None and t._records]


def _key(tape: Any) -> int:
    return int(ffi.cast("uintptr_t", tape))


class Tape:
    """Records the BLAS calls made while its block runs, and differentiates them.

    Parameters
    ----------
    mode : {Reverse, Forward}
    threads : {"current", "all"}
        Whose calls are recorded: those of the thread that enters the block, or of every thread of the process. Calls
        that a tape of all threads records are made one after the other, in one order. It still belongs to the thread
        that entered its block: the others may call :meth:`assigned`, :meth:`forget` and :meth:`record`, but not
        annotate or close it; and it is looked at and replayed when their calls are done.
    verify : bool
        Notice writes to annotated memory that no recorded call made (section 7). Costs some 4 bytes of memory and a
        few nanoseconds for each element of an operand.
    undeclared : {"warn", "error", "constant"}
        What to do about operands that nobody annotated: one :class:`ActivityWarning` when recording ends, an
        :class:`ActivityError` at the first, or only to list them in `assumptions`.
    copies : {"error", "follow"}
        What to do about an undeclared operand that is a copy of a whole active value: an :class:`ActivityError`, or
        differentiate it as that copy.
    memory_limit : int, optional
        In bytes; saved values beyond it go to a temporary file.

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
        if memory_limit is not None and not 0 <= memory_limit < 2**63:
            raise ValueError(f"memory_limit={memory_limit!r}: it is a number of bytes, or None for no limit")
        options = (
            (0 if verify else lib.BLASAD_NO_VERIFY)
            | (lib.BLASAD_UNDECLARED_ERROR if undeclared == "error" else 0)
            | (lib.BLASAD_FOLLOW_COPIES if copies == "follow" else 0)
            | (lib.BLASAD_ALL_THREADS if threads == "all" else 0)
        )
        self._tape = lib.blasad_tape_new(lib.BLASAD_REVERSE if mode is Reverse else lib.BLASAD_FORWARD, options)
        if self._tape == ffi.NULL:
            raise MemoryError(text(lib.blasad_last_error()))
        self._free = weakref.finalize(self, lib.blasad_tape_free, self._tape)
        self._kept: list[object] = []
        self._returned: dict[int, Returned] = {}
        self._batched = False
        self._raised: BaseException | None = None  # by a user's function, while recording
        self._undeclared = undeclared
        self._registry = _everywhere if threads == "all" else None  # None: that of the thread which enters
        self.mode = mode
        if memory_limit is not None:
            check(lib.blasad_tape_limit(self._tape, memory_limit))

    def __getattr__(self, name: str) -> Any:
        if name in _LATER:
            raise AttributeError(f"tape.{name} is not there yet in this version of blasad ({_LATER[name]})")
        raise AttributeError(f"a Tape has no attribute {name!r}")

    def __reduce__(self) -> Never:
        raise TypeError("a Tape cannot be copied or pickled: it owns what it recorded")

    # ---- recording

    def __enter__(self) -> Self:
        check(lib.blasad_tape_start(self._open))
        if self._registry is None:
            self._registry = _here.tapes
        self._registry[_key(self._tape)] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tape is None:  # closed inside its block: nothing is left to end
            return
        code = lib.blasad_tape_close_recording(self._tape)
        if error is None:
            self._check(code)
            self._warn()

    def _check(self, code: int) -> None:
        if code == lib.BLASAD_USER and self._raised is not None:
            raise self._raised
        check(code)

    @property
    def _open(self) -> Any:
        if self._tape is None:
            raise TapeError("this tape was closed: what it recorded is gone")
        return self._tape

    @property
    def _records(self) -> bool:
        """Whether it records the calling thread now."""
        return self._tape is not None and bool(lib.blasad_tape_records(self._tape))

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
        self._annotate(name, "Duplicated", primal, [shadow])

    def batch_duplicated(
        self,
        x: object,
        dxs: Sequence[object],
        *,
        nbytes: int | None = None,
        count: int | None = None,
        dtype: object = None,
        name: str = "x",
    ) -> None:
        """Annotates memory and several shadows, which are propagated together. All annotations of a tape have the same
        number of them. Parameters and errors as for :meth:`duplicated`."""
        primal = describe(x, name, nbytes=nbytes, count=count, dtype=dtype)
        try:
            several = tuple(dxs)
        except TypeError:
            raise TypeError(f"the shadows of {name} are a sequence, not a {type(dxs).__name__}") from None
        if not several:
            raise ValueError(f"{name} is BatchDuplicated without a shadow; it needs one at least")
        shadows = []
        for i, dx in enumerate(several):
            what = f"shadow {i + 1} of {name}"
            shadows.append(describe(dx, what, nbytes=nbytes, count=count, dtype=dtype))
            _check_pair(name, primal, shadows[-1], what)
        self._batched = True
        self._annotate(name, f"BatchDuplicated by {len(shadows)}", primal, shadows)

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
        self._annotate(name, "Const", describe(x, name, nbytes=nbytes, count=count, dtype=dtype), [])

    def _annotate(self, name: str, kind: str, primal: Memory, shadows: list[Memory]) -> None:
        size = " x ".join(map(str, primal.shape)) or "scalar"
        what = f"{size} bytes" if primal.dtype is None else f"{_NAMES[primal.dtype]} {size}"
        check(
            lib.blasad_annotate(
                self._open,
                ffi.cast("void *", primal.address),
                len(shadows),
                [ffi.cast("void *", dx.address) for dx in shadows],
                kind.startswith("Batch"),
                *array_of(primal),
                f"{name} ({kind}, {what})".encode(),
            )
        )
        self._kept += [primal.owner, *(dx.owner for dx in shadows)]

    # ---- announcing what no hook sees

    def assigned(
        self, x: object, *, nbytes: int | None = None, count: int | None = None, dtype: object = None
    ) -> contextlib.AbstractContextManager[None]:
        """``with tape.assigned(x): …`` announces that the program writes fresh constant content into memory.

        What earlier calls need of the old content is saved, the shadow is zeroed there in reverse mode and the tangent
        in forward mode. All tapes that record this thread are told. An exception inside passes through; the content
        counts as written then, too.

        Parameters
        ----------
        x, nbytes, count, dtype
            As for :meth:`const`.

        Raises
        ------
        TypeError, ValueError
            `x` is no memory that could be annotated.
        TapeError
            This tape does not record the calling thread now.
        """
        self._check_here("assigned")
        return _assignment(*self._announced(x, nbytes, count, dtype))

    def forget(self, x: object, *, nbytes: int | None = None, count: int | None = None, dtype: object = None) -> None:
        """Announces that what undeclared memory holds has ended: it is freed, or used for something else from now on.

        All tapes that record this thread are told. Parameters and errors as for :meth:`assigned`; and ValueError for
        memory that one of the tapes has annotated.
        """
        self._check_here("forget")
        _tell(lib.blasad_forget, *self._announced(x, nbytes, count, dtype))

    def record(
        self,
        inputs: Array | Sequence[Array],
        outputs: Array | Sequence[Array],
        vjp: Callable[..., Any],
        jvp: Callable[..., Any] | None = None,
    ) -> contextlib.AbstractContextManager[None]:
        """``with tape.record(inputs, outputs, vjp): kernel()`` puts an operation on the tape that is not BLAS.

        BLAS calls inside the block are not recorded. All tapes that record this thread record the operation. An
        exception inside passes through, and nothing is recorded.

        Parameters
        ----------
        inputs, outputs : array or sequence of arrays
            What the operation reads and writes; an array may be both.
        vjp : callable
            ``vjp(inputs, outputs, douts)`` gets tuples of arrays: the values that the operation saw and left, and the
            shadows of its outputs; read-only, and valid during the call. Returns one array of the same type and shape,
            or None, for each input (of a single input just that), which is added to the input's shadow. The shadows
            of the outputs are cleared then. BLAS calls in it pass through the tapes around.
        jvp : callable, optional
            ``jvp(inputs, outputs, dinputs)`` returns the tangents of the outputs in the same way. Without it a tape in
            forward mode gets a :class:`NoDerivativeError`.

        Raises
        ------
        TypeError, ValueError
            An argument makes no sense.
        TapeError
            This tape does not record the calling thread now.

        Notes
        -----
        What `vjp` raises comes out of :meth:`reverse`, and shadows may be partial then; what `jvp` raises comes out of
        the tape's block.
        """
        self._check_here("record")
        return _operation(Operation(inputs, outputs, vjp, jvp))

    def _check_here(self, what: str) -> None:
        self._open  # noqa: B018 - of a closed one that is what is said
        if not self._records:
            raise TapeError(
                f"tape.{what} is for a tape that records the calling thread: use it in the tape's own block "
                "(blasad.current_tape() is the innermost tape there)"
            )

    def _announced(self, x: object, nbytes: int | None, count: int | None, dtype: object) -> tuple[Any, ...]:
        memory = describe(x, "x", nbytes=nbytes, count=count, dtype=dtype)
        return ffi.cast("void *", memory.address), *array_of(memory)

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
        Exception
            What a vjp (:meth:`record`) raised, with a note that shadows may be partial.
        """
        try:
            code = lib.blasad_reverse(self._open)
        finally:
            let_go()
        if code == lib.BLASAD_USER and self._raised is None:
            error = taken()
            error.add_note("raised in a vjp during reverse(): some shadows may be partial; fill them anew")
            raise error
        self._check(code)

    def returned(self, index: int) -> Returned:
        """What call `index` returned, an object with `value` and, once the block has been left, a writable `shadow` of
        one element: the seed of its adjoint in reverse mode, its tangent in forward mode.

        A seed is consumed by :meth:`reverse`, as the shadow of any output is.

        Raises
        ------
        IndexError
            There is no such call.
        ValueError
            Its routine returns nothing.
        TapeError
            On `shadow`: the tape still records, or the number depends on nothing active.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"call {index} of a tape of {len(self)}")
        index %= len(self)
        if index not in self._returned:
            number = Returned(self, index)
            if self._records:
                return number  # what a call in progress returns is not known yet
            self._returned[index] = number
        return self._returned[index]

    def _that_returned(self, value: object) -> Returned:
        """By its bits, which only one active value may have."""
        return self.returned(find(self._open, value))

    def close(self) -> None:
        """Gives everything back; also done when the tape is garbage. The tape is of no use afterwards."""
        if self._tape is not None:
            key = _key(self._tape)
            check(lib.blasad_tape_free(self._tape))
            self._free.detach()
            if self._registry is not None:
                self._registry.pop(key, None)
            self._tape = None
            self._kept.clear()
            self._returned.clear()

    # ---- looking at it

    def __len__(self) -> int:
        return int(lib.blasad_tape_length(self._open))

    def __bool__(self) -> bool:
        """True, also of an empty tape: ``if blasad.current_tape()`` asks whether there is one."""
        return True

    def __iter__(self) -> Iterator[Call]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Call:
        if not -len(self) <= index < len(self):
            raise IndexError(f"call {index} of a tape of {len(self)}")
        index %= len(self)
        return read_call(self._open, index)

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

    def __repr__(self) -> str:
        if self._tape is None:
            return f"<closed Tape({self.mode!r})>"
        return f"<Tape({self.mode!r}) of {len(self)} calls, {self.saved_bytes} bytes saved>"

    def __str__(self) -> str:
        rows = [HEAD, *map(row, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, LEGEND])

    def _repr_html_(self) -> str:
        head, *body = [[html.escape(cell) for cell in line] for line in (HEAD, *map(row, self))]
        cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in body)
        return f"<table><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>{cells}</table><p>{html.escape(LEGEND)}</p>"


def _check_pair(name: str, x: Memory, dx: Memory, shadow: str | None = None) -> None:
    its = shadow or "its shadow"
    way_out = "blasad.shadow(x) makes a shadow that fits"
    for what, a, b in (("dtype", x.dtype, dx.dtype), ("shape", x.shape, dx.shape)):
        if a != b:
            raise ValueError(f"{name} has {what} {a}, {its} {b}; {way_out}")
    if any(a != b for a, b, n in zip(x.strides, dx.strides, x.shape, strict=True) if n > 1) and x.nbytes:
        raise ValueError(f"{name} has strides {x.strides}, {its} {dx.strides} (bytes); {way_out}")
    if not dx.writable:
        raise ValueError(f"{shadow or f'the shadow of {name}'} is read-only; {way_out}")


def _tell(announce: Any, *memory: Any) -> None:
    """Announces something. What was found while recording is raised when its block is left (11), and not here."""
    code = announce(*memory)
    if code == lib.BLASAD_VALUE or (code != lib.BLASAD_OK and not _found()):
        check(code)


def _found() -> bool:
    """Whether a tape of this thread has found an error."""
    return any(lib.blasad_tape_error(t._tape) != lib.BLASAD_OK for t in _recording())


@contextlib.contextmanager
def _assignment(*memory: Any) -> Iterator[None]:
    _tell(lib.blasad_assigned_begin, *memory)
    try:
        yield
    finally:
        _tell(lib.blasad_assigned_end, *memory)


@contextlib.contextmanager
def _operation(operation: Operation) -> Iterator[None]:
    operation.begin()
    try:
        yield
    except BaseException:
        operation.abandon()
        raise
    _tell(operation.end)
    let_go()
    if not kept():  # what a tape of all threads says may be another thread's
        return
    error = taken()
    for t in _recording():
        if lib.blasad_tape_error(t._tape) == lib.BLASAD_USER and not t._raised:
            t._raised = error


def _outside() -> int:
    """The stack level of the first frame that is not blasad's own."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("blasad."):
        level, frame = level + 1, frame.f_back
    return level
