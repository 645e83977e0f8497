"""Derivatives of programs at their BLAS calls.

A program that calls ``dgemm_`` with raw pointers is recorded at the pointer, and the adjoint calls are replayed on the
shadows of its buffers in reverse order. What a derivative means is ``docs/semantics.md``.
"""

import platform
import sys

if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    raise ImportError(f"blasad runs on Linux on x86-64 and aarch64, not on {sys.platform} on {platform.machine()}")

from ._core import ffi, lib  # noqa: E402
from .activity import Active, Const, Duplicated, Forward, Reverse  # noqa: E402
from .autodiff import autodiff  # noqa: E402
from .backend import address, set_backend, wrap  # noqa: E402
from .checks import check_gradients  # noqa: E402
from .errors import (  # noqa: E402
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
from .memory import shadow  # noqa: E402
from .tape import Assumption, Call, Operand, Tape  # noqa: E402

__version__ = text(lib.blasad_version())

__all__ = [
    "Active",
    "ActivityError",
    "ActivityWarning",
    "AliasError",
    "Assumption",
    "BackendError",
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
    "ffi",
    "lib",
    "set_backend",
    "shadow",
    "wrap",
]

_LATER = {"BatchDuplicated", "current_tape", "hook", "intercept", "libraries", "load", "release"}


def __getattr__(name: str) -> object:
    if name in _LATER:
        raise AttributeError(f"blasad.{name} is not there yet in version {__version__} (README: what it does not do yet)")
    raise AttributeError(f"module 'blasad' has no attribute {name!r}")
