"""The main call: a function, its arguments and their shadows."""

import array
import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from ._core import ffi
from .activity import Active, Annotation, BatchDuplicated, Const, Duplicated, Forward, Mode, Reverse
from .memory import describe
from .tape import Tape

_MEMORY = (
    np.ndarray,
    memoryview,
    array.array,
    bytearray,
    ctypes.Array,
    ctypes._Pointer,
    ctypes.c_void_p,
    ctypes.c_double,
    ctypes.c_float,
    type(ctypes.byref(ctypes.c_int())),
)
_TAPE_OPTIONS = ("verify", "undeclared", "copies", "threads", "memory_limit")


def autodiff(mode: Mode, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function and differentiates the BLAS calls that it makes.

    Parameters
    ----------
    mode : {Reverse, Forward}
    f : callable
        Called with the primals of `args`. Its BLAS calls are recorded where they go through blasad's pointers.
    *args
        Optionally first the activity of the result: ``Const`` (the default); ``Active`` in reverse mode, where f returns
        a number that a recorded call returned, whose adjoint is seeded with 1; ``Duplicated`` in forward mode, where f
        does the same. Then one argument of `f` each: arrays and pointers as ``Const(x)``, ``Duplicated(x, dx)`` or ``BatchDuplicated(x, dxs)``, other objects as they are.
    **kwargs
        ``verify``, ``undeclared``, ``copies``, ``threads`` and ``memory_limit`` are options of the :class:`Tape`; the
        others go to `f`; annotations are such there as well.

    Returns
    -------
    object
        What `f` returned; with a ``Duplicated`` result that and its tangent (a tuple of them for a batch).

    Raises
    ------
    TypeError, ValueError
        An argument makes no sense; before `f` runs.
    BlasadError
        What was found while recording, or when replaying; in reverse mode the shadows are as they were.

    Notes
    -----
    In reverse mode the shadows of outputs are consumed and those of inputs added to; in forward mode the shadows of
    outputs are set and those of inputs left alone. ``docs/semantics.md``, sections 2 and 3.
    """
    if not isinstance(mode, Mode):
        raise TypeError(f"the first argument of autodiff is Reverse or Forward, not {mode!r}")
    if not callable(f):
        raise TypeError(f"the second argument of autodiff is the function, not a {type(f).__name__}")
    activity: type = Const
    if args and isinstance(args[0], type):
        activity, args = args[0], args[1:]
        _check_return(activity, mode)
    options = {k: kwargs.pop(k) for k in _TAPE_OPTIONS if k in kwargs}
    tape = Tape(mode, **options)
    names = _parameters(f)
    primals = []
    for i, a in enumerate(args):
        name = f"argument {i + 1}" + (f" ({names[i]})" if i < len(names) else "")
        primals.append(annotate(tape, name, a))
    named = {k: annotate(tape, f"argument {k}", a) if isinstance(a, Annotation) else a for k, a in kwargs.items()}
    with tape:
        result = f(*primals, **named)
    if activity is not Const:
        number = tape._that_returned(result)
        if mode is Forward:
            tangents = tuple(x[0] for x in number.shadows)
            result = result, tangents if tape._batched else tangents[0]
        else:
            for x in number.shadows:
                x[0] = 1
    if mode is Reverse:
        tape.reverse()
    tape.close()
    return result


def _check_return(activity: type, mode: Mode) -> None:
    if activity is not Const and activity is not {Reverse: Active, Forward: Duplicated}[mode]:
        raise TypeError(
            f"the activity of the result is Const, Active (Reverse) or Duplicated (Forward), not {activity!r} ({mode!r})"
        )


def annotate(tape: Tape, name: str, a: object) -> object:
    """Annotates one argument on a tape and returns what the function is to be called with."""
    if isinstance(a, Duplicated):
        tape.duplicated(a.primal, a.shadow, name=name, **a.size)  # type: ignore[arg-type]
        return a.primal
    if isinstance(a, BatchDuplicated):
        tape.batch_duplicated(a.primal, a.shadows, name=name, **a.size)  # type: ignore[arg-type]
        return a.primal
    if isinstance(a, Const):
        if holds_numbers(a):
            tape.const(a.primal, name=name, **a.size)  # type: ignore[arg-type]
        return a.primal
    if isinstance(a, (type, Annotation)):
        raise TypeError(
            f"{name} is {a!r}; activities of arguments are Const(x), Duplicated(x, dx) and BatchDuplicated(x, dxs)"
        )
    if _is_memory(a):
        raise TypeError(
            f"{name} is memory ({type(a).__name__}) without an annotation: is it Const(x), or Duplicated(x, dx) with a "
            "shadow (blasad.shadow(x) makes one)?"
        )
    return a


def holds_numbers(a: Annotation) -> bool:
    """Whether an annotation is about numbers that BLAS computes with; pivots, flags and other objects are not."""
    if any(v is not None for v in a.size.values()):
        return True
    if isinstance(a.primal, (int, np.integer)):  # a size, or an address that nobody gave a size
        return False
    try:
        describe(a.primal, "x")
    except TypeError:
        return False
    except ValueError:  # what is wrong with it is said where it is annotated
        return True
    return True


def _is_memory(x: object) -> bool:
    """Arrays and pointers. A plain int may be an address or a size; only its owner knows."""
    if isinstance(x, ffi.CData):
        kind = ffi.typeof(x)
        return bool(kind.kind == "array" or (kind.kind == "pointer" and kind.item.kind != "function"))
    return isinstance(x, _MEMORY)


def _parameters(f: Callable[..., Any]) -> list[str]:
    """Names for messages. inspect.signature would say more, and take longer than all the rest."""
    code = getattr(f, "__code__", None)
    return list(code.co_varnames[: code.co_argcount]) if code is not None else []
