"""Operations of the program's own, which are no BLAS: their functions, as the C core calls them (section 7)."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._core import ffi, lib
from .errors import keep, text
from .memory import TYPES, Memory, describe

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[..., Any]


def array_of(x: Memory) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """Type, number of axes, shape and strides, as the C interface takes them."""
    return lib.BLASAD_BYTES if x.dtype is None else TYPES[x.dtype], len(x.shape), x.shape, x.strides


class Operation:
    """What an operation reads and writes, and its derivative.

    Parameters
    ----------
    inputs, outputs : array or sequence of arrays
    vjp, jvp : callable
        See :meth:`blasad.Tape.record`.

    Raises
    ------
    TypeError, ValueError
        An argument makes no sense.
    """

    def __init__(self, inputs: object, outputs: object, vjp: Function, jvp: Function | None) -> None:
        for name, function in (("vjp", vjp), ("jvp", jvp)):
            if not callable(function) and (name == "vjp" or function is not None):
                raise TypeError(f"record: {name} is a function, not a {type(function).__name__}")
        self._given = [_Structs(_operands(inputs, "input")), _Structs(_operands(outputs, "output"))]
        # The program's arrays may end before the tape does; what they were is enough.
        self.inputs, self.outputs = ([m._replace(owner=None) for m in s.memory] for s in self._given)
        self.vjp, self.jvp = vjp, jvp
        self._begun: Any = ffi.NULL
        self._handle: Any = None

    def begin(self) -> None:
        (n_in, inputs), (n_out, outputs) = (s.given for s in self._given)
        self._begun = lib.blasad_record_begin(n_in, inputs, n_out, outputs)
        self._given.clear()
        if self._begun == ffi.NULL:
            raise ValueError(text(lib.blasad_last_error()))

    def end(self) -> int:
        self._handle = ffi.new_handle(self)
        _needed.add(self)
        jvp = lib.blasad_python_jvp if self.jvp else ffi.NULL
        return int(lib.blasad_record_end(self._begun, lib.blasad_python_vjp, jvp, self._handle, lib.blasad_python_done))

    def abandon(self) -> None:
        lib.blasad_record_abandon(self._begun)

    # ---- called by the C core

    def pull(self, inputs: Any, outputs: Any, douts: Any, dinputs: Any) -> int:
        return self._run(
            "vjp",
            self.vjp,
            ((self.inputs, inputs), (self.outputs, outputs), (self.outputs, douts)),
            (self.inputs, dinputs),
        )

    def push(self, inputs: Any, outputs: Any, dinputs: Any, doutputs: Any) -> int:
        assert self.jvp is not None
        return self._run(
            "jvp",
            self.jvp,
            ((self.inputs, inputs), (self.outputs, outputs), (self.inputs, dinputs)),
            (self.outputs, doutputs),
        )

    def _run(
        self,
        name: str,
        function: Function,
        given: Sequence[tuple[list[Memory], Any]],
        wanted: tuple[list[Memory], Any],
    ) -> int:
        """What the function returns goes to `wanted`; an exception is kept for whoever is told of the failure."""
        let_go()
        try:
            arguments = [tuple(_view(m, places[i]) for i, m in enumerate(memory)) for memory, places in given]
            operands, results = wanted
            values = _results(name, function(*arguments), operands)
            structs = _Structs([m for m in values if m is not None])
            filled = iter(structs.given[1])
            for i, m in enumerate(values):
                if m is None:
                    results[i].at = ffi.NULL
                else:
                    results[i] = next(filled)
            _held.results = structs
        except BaseException as error:
            keep(error)
            return 1
        return 0


_needed: set[Operation] = set()  # by a tape that recorded them


class _Structs:
    """Operands as an array of blasad_array, which borrows shapes and strides from here."""

    def __init__(self, memory: list[Memory]) -> None:
        self.memory = memory
        structs = ffi.new("blasad_array[]", len(memory))
        self._kept = []
        for struct, m in zip(structs, memory, strict=True):
            kind, ndim, shape, strides = array_of(m)
            shape, strides = ffi.new("int64_t[]", shape), ffi.new("int64_t[]", strides)
            self._kept += [shape, strides]
            struct.at, struct.type, struct.ndim = ffi.cast("void *", m.address), kind, ndim
            struct.shape, struct.strides = shape, strides
        self.given = len(memory), structs


def _operands(x: object, what: str) -> list[Memory]:
    found = []
    several = isinstance(x, (list, tuple))
    for i, operand in enumerate(x if isinstance(x, (list, tuple)) else [x]):
        name = f"{what} {i + 1} of record" if several else f"the {what} of record"
        memory = describe(operand, name)
        if memory.nbytes and any(s == 0 and n > 1 for s, n in zip(memory.strides, memory.shape, strict=True)):
            raise ValueError(
                f"{name} has stride 0, so several of its elements are one; give the array it was made from"
            )
        found.append(memory)
    return found


def _view(m: Memory, address: Any) -> Array:
    x = m._replace(address=int(ffi.cast("uintptr_t", address))).array()
    x.flags.writeable = False
    return x


def _results(name: str, values: object, operands: list[Memory]) -> list[Memory | None]:
    """What a function returned, one for each operand, held against what it is for."""
    kind = "input" if name == "vjp" else "output"
    one = len(operands) == 1 and not isinstance(values, (list, tuple))
    returned = [values] if one else values
    if not isinstance(returned, (list, tuple)) or len(returned) != len(operands):
        got = f"{len(returned)} of them" if isinstance(returned, (list, tuple)) else f"a {type(returned).__name__}"
        raise TypeError(f"{name} returned {got}; it is one array, or None, for each of the {len(operands)} {kind}s")
    found: list[Memory | None] = []
    for i, (value, m) in enumerate(zip(returned, operands, strict=True)):
        what = f"what {name} returned for {kind} {i + 1}"
        if value is None:
            found.append(None)
            continue
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{what} is a {type(value).__name__}, not an array of {m.dtype} or None")
        if value.dtype != m.dtype:
            raise TypeError(f"{what} has dtype {value.dtype}, that {kind} {m.dtype}")
        if value.shape != m.shape:
            raise ValueError(f"{what} has shape {value.shape}, that {kind} {m.shape}")
        broadcast = any(s == 0 and n > 1 for s, n in zip(value.strides, value.shape, strict=True))
        found.append(describe(value.copy() if broadcast else value, what))
    return found


class _Held(threading.local):
    """The arrays that the C core was handed last, which it reads until it calls again."""

    results: _Structs | None = None


_held = _Held()


def let_go() -> None:
    """Ends the life of what a function returned, and tells tapes around it, which may have seen it written (10)."""
    results, _held.results = _held.results, None
    if results is None:
        return
    roots = [_root(m.owner) for m in results.memory] if lib.blasad_current_tape() != ffi.NULL else []
    ends = [(weakref.ref(x), x.ctypes.data, x.nbytes) for x in roots if x is not None]
    del results, roots
    for alive, address, nbytes in ends:
        if alive() is None:
            lib.blasad_forget(ffi.cast("void *", address), lib.BLASAD_BYTES, 1, [nbytes], ffi.NULL)


def _root(x: object) -> Array | None:
    """The array that owns the memory of an array."""
    while isinstance(x, np.ndarray) and isinstance(x.base, np.ndarray):
        x = x.base
    return x if isinstance(x, np.ndarray) and x.flags.owndata else None


def _vjp(self: Any, _shadow: int, inputs: Any, outputs: Any, douts: Any, dinputs: Any) -> int:
    operation: Operation = ffi.from_handle(self)
    return operation.pull(inputs, outputs, douts, dinputs)


def _jvp(self: Any, _shadow: int, inputs: Any, outputs: Any, dinputs: Any, doutputs: Any) -> int:
    operation: Operation = ffi.from_handle(self)
    return operation.push(inputs, outputs, dinputs, doutputs)


def _done(self: Any) -> None:
    operation: Operation = ffi.from_handle(self)
    _needed.discard(operation)
    operation._handle = None  # which keeps the operation


ffi.def_extern("blasad_python_vjp", error=1)(_vjp)
ffi.def_extern("blasad_python_jvp", error=1)(_jvp)
ffi.def_extern("blasad_python_done")(_done)
