"""Derivatives of programs at their BLAS calls.

A program that calls ``dgemm_`` with raw pointers is recorded at the pointer, and the adjoint calls are replayed on the
shadows of its buffers in reverse order. What a derivative means is ``docs/semantics.md``.
"""

import platform
import sys

if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    raise ImportError(f"blasad runs on Linux on x86-64 and aarch64, not on {sys.platform} on {platform.machine()}")

from ._core import ffi, lib
from .activity import Active, BatchDuplicated, Const, Duplicated, Forward, Reverse
from .autodiff import autodiff
from .backend import address, set_backend, wrap
from .calls import Assumption, Call, Operand
from .checks import check_gradients
from .errors import (
    ActivityError,
    ActivityWarning,
    AliasError,
    BackendError,
    BlasadError,
    GradientError,
    InvalidCallError,
    NoDerivativeError,
    TapeError,
    UnseenWriteError,
    UnsupportedError,
    text,
)
from .memory import shadow
from .tape import Tape, current_tape

__version__ = text(lib.blasad_version())

__all__ = [
    "Active",
    "ActivityError",
    "ActivityWarning",
    "AliasError",
    "Assumption",
    "BackendError",
    "BatchDuplicated",
    "BlasadError",
    "Call",
    "Const",
    "Duplicated",
    "Forward",
    "GradientError",
    "InvalidCallError",
    "NoDerivativeError",
    "Operand",
    "Reverse",
    "Tape",
    "TapeError",
    "UnseenWriteError",
    "UnsupportedError",
    "address",
    "autodiff",
    "check_gradients",
    "current_tape",
    "ffi",
    "lib",
    "set_backend",
    "shadow",
    "wrap",
]

_LATER = {"hook", "intercept", "libraries", "load", "release"}


def __getattr__(name: str) -> object:
    if name in _LATER:
        raise AttributeError(
            f"blasad.{name} is not there yet in version {__version__} (README: what it does not do yet)"
        )
    raise AttributeError(f"module 'blasad' has no attribute {name!r}")
