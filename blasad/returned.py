"""Numbers that recorded calls returned, and their shadows (semantics 8)."""

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import ffi, lib
from .errors import TapeError, check
from .memory import TYPES

if TYPE_CHECKING:
    from .tape import Tape

_DTYPES = {code: dtype for dtype, code in TYPES.items()}


class Returned:
    """What a recorded call returned, as `tape.returned(index)` gives it.

    Attributes
    ----------
    value : float or complex
    active : bool
        Whether it depends on Duplicated memory; else it has no shadow.
    shadow : ndarray
        Of one element. In reverse mode :meth:`Tape.reverse` adds it to the adjoint of the number and clears it; in
        forward mode it holds the tangent. Of a batch the first.
    shadows : tuple of ndarray
        As many as a batch has.
    """

    def __init__(self, tape: "Tape", index: int) -> None:
        number = ffi.new("blasad_number *")
        check(lib.blasad_returned(tape._open, index, number))
        self._index, self._count = index, int(number.shadows)
        self._tape = weakref.ref(tape)  # which keeps this, since it knows where the shadows are
        self._dtype = _DTYPES[number.type]
        self._shadows: tuple[Any, ...] | None = None
        self.active = bool(number.active)
        self.value = complex(*number.value) if self._dtype.kind == "c" else float(number.value[0])

    @property
    def shadows(self) -> "tuple[np.ndarray[Any, np.dtype[Any]], ...]":
        if self._shadows is None:
            tape = self._tape()
            if tape is None:
                raise TapeError("the tape of this number is gone")
            owner = tape._returned.setdefault(self._index, self)  # the tape keeps what the core knows by its address
            if owner is not self:
                self._shadows = owner.shadows
                return self._shadows
            shadows = tuple(np.zeros(1, self._dtype) for _ in range(self._count))
            addresses = [ffi.cast("void *", x.ctypes.data) for x in shadows]
            check(lib.blasad_returned_shadow(tape._open, self._index, addresses))
            self._shadows = shadows
        return self._shadows

    @property
    def shadow(self) -> "np.ndarray[Any, np.dtype[Any]]":
        return self.shadows[0]

    def __repr__(self) -> str:
        return f"<returned {self.value!r} by call {self._index}>"


def find(tape: Any, value: object) -> int:
    """The call of a tape of the C core that returned this number."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (float, complex, np.inexact)):
        raise TypeError(
            f"the result of f is Active or Duplicated, so it is a number that a routine returned, not a "
            f"{type(value).__name__}"
        )
    number = complex(value)
    index = ffi.new("size_t *")
    check(lib.blasad_returned_find(tape, number.real, number.imag, index))
    return int(index[0])
