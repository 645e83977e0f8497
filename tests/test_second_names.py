"""Routines with two names, and what a BLAS that has one of them, or neither, is asked for."""

import subprocess
import sys

import numpy as np
import pytest
from roads import Road, place, real_address
from test_rules import dyadic

import blasad
from blasad import Tape

STEP = {"uplo": "L", "transa": "N", "transb": "T", "n": 3, "k": 2, "alpha": 0.5, "a": "A", "lda": 3, "b": "B", "ldb": 3}
STEP |= {"beta": -2.0, "c": "C", "ldc": 3}


def expected(memory: dict[str, np.ndarray]) -> np.ndarray:
    a, b, c = (memory[n].reshape(-1, 3).T for n in "ABC")
    return np.where(np.tri(3, dtype=bool), 0.5 * (a @ b.T) - 2 * c, c).T.ravel()


def buffers() -> dict[str, np.ndarray]:
    return {n: dyadic("d", size, i) for i, (n, size) in enumerate({"A": 6, "B": 6, "C": 9}.items())}


@pytest.mark.parametrize("name", ["dgemmt", "dgemmtr"])
def test_wrapped_under_either_name(name):
    """The library is known by both: it is probed, and serves the rest."""
    address = real_address("numpy", f"scipy_{name}_64_")
    with pytest.raises(blasad.BackendError, match="was probed and has 64-bit integers"):
        blasad.wrap(f"{name}_", address, integer_bits=32)
    memory = buffers()
    want = expected(memory)
    with Tape(undeclared="constant") as tape:
        Road("wrapped", "scipy_{}_64_", "numpy").call({"call": name, **STEP}, place(memory))
    assert [(call.routine, call.symbol) for call in tape] == [("dgemmt", f"scipy_{name}_64_")]
    assert np.array_equal(memory["C"], want)


SCRIPT = """
import ctypes, sys
import numpy as np
from roads import Road, library, place
from test_second_names import STEP, buffers, expected
from blasad import ffi, lib
blas, called, kept = library("scipy"), [], []
def address(name):
    return ffi.cast("void *", ctypes.cast(getattr(blas, f"scipy_{name}_"), ctypes.c_void_p).value)
functions = {f"{t}gemm": address(f"{t}gemm") for t in "sdcz"} | {"isamax": address("isamax")}
for name in sys.argv[1:]:
    real = getattr(blas, f"scipy_{name}_")
    hook = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(lambda *a, n=name, f=real: (called.append(n), f(*map(ctypes.c_void_p, a)))[0])
    kept.append(hook)
    functions[name] = ffi.cast("void *", ctypes.cast(hook, ctypes.c_void_p).value)
keys = [ffi.new("char[]", k.encode()) for k in functions]
assert lib.blasad_set_backend_functions(b"a BLAS", len(keys), keys, list(functions.values())) == 0
for name in ("dgemmt", "dgemmtr"):
    memory = buffers()
    want = expected(memory)
    Road("ctypes", "{}_").call({"call": name, **STEP}, place(memory))
    assert np.array_equal(memory["C"], want)
print(*called)
"""


@pytest.mark.parametrize("has", [["dgemmt"], ["dgemmtr"], ["dgemmt", "dgemmtr"], []], ids=" ".join)
def test_what_serves_it(has):
    """The first of the names that the BLAS has serves both; without either, calls of gemm do."""
    done = subprocess.run([sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {sys.path}\n{SCRIPT}", *has],
                          capture_output=True, text=True, timeout=100, check=False)  # fmt: skip
    assert (done.stdout.split(), done.returncode) == (has[:1] * 2, 0), done.stderr
