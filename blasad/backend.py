"""The BLAS behind blasad's own names, and the pointers that a program may be given."""

import ctypes
import difflib
import os
from typing import Any

from ._core import ffi, lib
from .errors import check, text


def names() -> list[str]:
    """Every symbol that has an entry."""
    return [text(lib.blasad_name(i)) for i in range(lib.blasad_name_count())]


def _unknown(name: str) -> ValueError:
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
    return ValueError(f"blasad has no entry {name!r}; the nearest it has: {', '.join(near) or 'none'}")


def address(name: str) -> int:
    """The address of a recording entry, to put in somebody's function table.

    Parameters
    ----------
    name : str
        A BLAS symbol in any decoration: ``dgemm_``, ``cblas_zgemm``, ``scipy_dgemm_64_``.

    Returns
    -------
    int
        Valid for the life of the process.

    Raises
    ------
    ValueError
        The name is unknown; the nearest known ones are named.
    """
    pointer = lib.blasad_address(name.encode())
    if pointer == ffi.NULL:
        raise _unknown(name)
    return int(ffi.cast("uintptr_t", pointer))


def wrap(name: str, implementation: object, *, integer_bits: int | None = None) -> int:
    """A recording pointer in front of a given implementation.

    Calls through it are recorded, and they and their adjoints are served by `implementation` (and by the library it
    comes from).

    Parameters
    ----------
    name : str
        What the function is: its name tells routine, type and calling convention.
    implementation : int, ctypes function or cffi function pointer
        The address of the real routine.
    integer_bits : {32, 64}, optional
        Width of its integers. Without it the library is probed, and where that is impossible the name decides.

    Returns
    -------
    int
        The address to call instead. Valid for the life of the process; the same arguments give the same address.

    Raises
    ------
    ValueError
        Unknown name, NULL, or a pointer that records already.
    BackendError
        `integer_bits` contradicts what the library was probed for.
    """
    if lib.blasad_address(name.encode()) == ffi.NULL:
        raise _unknown(name)
    if isinstance(implementation, ffi.CData):
        real = int(ffi.cast("uintptr_t", implementation))
    elif isinstance(implementation, int):
        real = implementation
    elif isinstance(implementation, (ctypes._CFuncPtr, ctypes.c_void_p)):  # type: ignore[attr-defined]
        real = ctypes.cast(implementation, ctypes.c_void_p).value or 0
    else:
        raise TypeError(
            f"wrap({name!r}, …): a {type(implementation).__name__} is no address; pass an int, a ctypes function or a cffi "
            "function pointer"
        )
    out = ffi.new("void **")
    check(lib.blasad_wrap(name.encode(), ffi.cast("void *", real), integer_bits or 0, out))
    return int(ffi.cast("uintptr_t", out[0]))


def set_backend(path: str | os.PathLike[str] | None) -> None:
    """Chooses the BLAS that serves blasad's own names (``blasad.lib.dgemm_``, ``blasad.address("dgemm_")``).

    Parameters
    ----------
    path : path or None
        A shared library. Its names, the width of its integers and how it returns complex numbers are probed. None
        goes back to SciPy's.

    Raises
    ------
    BackendError
        The library cannot be loaded or is no BLAS.
    TapeError
        A tape is recording.
    """
    check(lib.blasad_set_backend(ffi.NULL if path is None else os.fsencode(path)))


def describe_backend() -> tuple[str, int]:
    """Path or label of the BLAS behind blasad's own names, and the width of its integers in bits."""
    bits, registers = ffi.new("int *"), ffi.new("int *")
    return text(lib.blasad_backend(bits, registers)), int(bits[0])


def _install() -> None:
    """SciPy's BLAS by the capsules that it exports for this purpose, then what the environment asks for."""
    from scipy.linalg import cython_blas

    plain = [n.removesuffix("_") for n in names() if n.endswith("_") and not n.startswith(("scipy_", "cblas_"))]
    wanted = [n for n in plain if not n.endswith("64")] + ["isamax", "zdotu"]
    capi: dict[str, Any] = dict(cython_blas.__pyx_capi__)  # name -> capsule
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = {name: get_pointer(capi[name], get_name(capi[name])) for name in wanted if name in capi}
    keys = [ffi.new("char[]", name.encode()) for name in found]
    check(
        lib.blasad_set_backend_functions(
            b"scipy.linalg.cython_blas", len(keys), keys, [ffi.cast("void *", p) for p in found.values()]
        )
    )
    chosen = os.environ.get("BLASAD_BACKEND")
    if chosen:
        set_backend(chosen)


_install()
