"""Modes, and what an argument is to a derivative."""

import enum
from collections.abc import Sequence


class Mode(enum.Enum):
    """The direction of differentiation."""

    REVERSE = "Reverse"
    FORWARD = "Forward"

    def __repr__(self) -> str:
        return self.value


Reverse = Mode.REVERSE
Forward = Mode.FORWARD


class Annotation:
    """Memory, and what it is to the derivative."""

    def __init__(self, x: object, *, nbytes: int | None = None, count: int | None = None, dtype: object = None) -> None:
        self.primal = x
        self.size: dict[str, object] = {"nbytes": nbytes, "count": count, "dtype": dtype}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.primal).__name__})"


class Const(Annotation):
    """Memory without a shadow: no derivative goes there.

    Parameters
    ----------
    x : ndarray, ctypes or cffi array, pointer or address; or any other object, which is passed through
    nbytes, count : int, optional
        What a pointer points to, in bytes or elements.
    dtype : dtype, optional
        The element type behind an untyped pointer with `count`.
    """


class Duplicated(Annotation):
    """Memory and its shadow, which holds the adjoint (reverse) or the tangent (forward) of each element.

    Parameters
    ----------
    x, dx : ndarray, ctypes or cffi array, pointer or address
        Same dtype, shape and strides; :func:`blasad.shadow` makes a dx of zeros.
    nbytes, count : int, optional
        What pointers point to, in bytes or elements; calls on any address inside are covered.
    dtype : dtype, optional
        The element type behind untyped pointers with `count`.
    """

    def __init__(
        self,
        x: object,
        dx: object,
        *,
        nbytes: int | None = None,
        count: int | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(x, nbytes=nbytes, count=count, dtype=dtype)
        self.shadow = dx


class BatchDuplicated(Annotation):
    """Memory and several shadows, propagated together: the work of the program itself is done once.

    Parameters
    ----------
    x : ndarray, ctypes or cffi array, pointer or address
    dxs : sequence
        As many shadows for every annotation of a tape, each as for :class:`Duplicated`.
    nbytes, count, dtype
        As for :class:`Duplicated`.
    """

    def __init__(
        self,
        x: object,
        dxs: Sequence[object],
        *,
        nbytes: int | None = None,
        count: int | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(x, nbytes=nbytes, count=count, dtype=dtype)
        self.shadows = dxs


class Active:
    """A scalar result whose adjoint is seeded with 1, as `return_activity`. As an argument it is refused: scalars are
    memory here (``Duplicated`` of an array of one element)."""

    def __init__(self, *_: object) -> None:
        raise TypeError(
            "Active(x) is no argument: a number passed by value leaves no trace at the BLAS call. Scalars are memory here: "
            "pass Duplicated(s, ds) with arrays of one element, and hand the routine the address of s"
        )
