"""The errors of blasad. When each surfaces is section 11 of the contract (``docs/semantics.md``)."""

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
    """A routine without a rule touches active memory (section 7)."""


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
    lib.BLASAD_NOT_YET: UnsupportedError,
}


def check(code: int) -> None:
    """Raises the error that a function of the C core returned, with its text."""
    if code != lib.BLASAD_OK:
        raise _CLASSES[code](text(lib.blasad_last_error()))


def text(pointer: object) -> str:
    """A C string; what is no UTF-8 in it (a file name can be anything) is shown, not dropped."""
    return ffi.string(pointer).decode(errors="replace") if pointer != ffi.NULL else ""
