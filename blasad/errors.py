"""The errors of blasad. When each surfaces is section 11 of the contract (``docs/semantics.md``)."""

import threading

from ._core import ffi, lib


class BlasadError(Exception):
    """Base of everything that blasad raises for reasons of its own."""


class UnseenWriteError(BlasadError):
    """Memory that a derivative depends on changed between two recorded calls (section 7)."""


class AliasError(BlasadError):
    """An output of a call shares elements with another operand (section 5)."""


class ActivityError(BlasadError):
    """An active value goes where no shadow follows it (sections 1, 7, 8, 9)."""


class InvalidCallError(BlasadError):
    """The program passed an argument that BLAS defines as illegal (section 4)."""


class NoDerivativeError(BlasadError):
    """Something without a rule touches active memory (section 7)."""


class TapeError(BlasadError):
    """The tape cannot do this now (sections 3, 9, 10)."""


class GradientError(BlasadError):
    """:func:`blasad.check_gradients` found two numbers that should agree."""


class BackendError(BlasadError):
    """There is no BLAS, or not one that can serve the call."""


class UnsupportedError(BlasadError, NotImplementedError):
    """The contract has it, this version does not have it yet."""


class ActivityWarning(UserWarning):
    """Operands that nobody annotated were taken for constant (section 7)."""


_CLASSES: dict[int, type[Exception]] = {
    lib.BLASAD_VALUE: ValueError,
    lib.BLASAD_MEMORY: MemoryError,
    lib.BLASAD_TAPE: TapeError,
    lib.BLASAD_BACKEND: BackendError,
    lib.BLASAD_ALIAS: AliasError,
    lib.BLASAD_ACTIVITY: ActivityError,
    lib.BLASAD_INVALID_CALL: InvalidCallError,
    lib.BLASAD_UNSEEN_WRITE: UnseenWriteError,
    lib.BLASAD_NO_DERIVATIVE: NoDerivativeError,
    lib.BLASAD_NOT_YET: UnsupportedError,
}


def check(code: int) -> None:
    """Raises the error that a function of the C core returned, with its text; or what a user's function raised."""
    if code != lib.BLASAD_OK:
        raise taken() if code == lib.BLASAD_USER else _CLASSES[code](text(lib.blasad_last_error()))


class _Kept(threading.local):
    error: BaseException | None = None


_kept = _Kept()


def keep(error: BaseException) -> None:
    """An exception in a function that the C core has called, and through which none can pass."""
    _kept.error = error


def kept() -> bool:
    """Whether an exception of this thread waits to be taken."""
    return _kept.error is not None


def taken() -> BaseException:
    """The exception that was kept last on this thread."""
    error, _kept.error = _kept.error, None
    assert error is not None
    return error


def text(pointer: object) -> str:
    """A C string; what is no UTF-8 in it (a file name can be anything) is shown, not dropped."""
    return ffi.string(pointer).decode(errors="replace") if pointer != ffi.NULL else ""
