"""The cffi module ``blasad._core``, as ``cffi-gen-src exec-python`` wants it: a script that makes an FFI.

What Python sees of the library is not declared a second time: it is the marked part of the public
header, followed by the BLAS-named entries as ``gen_entries.py`` listed them.  The script gets no
arguments, so the folder of the generated headers comes in BLASAD_GENERATED.
"""

import os
import re
from pathlib import Path

from cffi import FFI

header = (Path(__file__).parents[1] / "csrc" / "blasad.h").read_text(encoding="utf-8")
names = (Path(os.environ["BLASAD_GENERATED"]) / "names_cdef.h").read_text(encoding="utf-8")

declared = re.findall(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", header, re.DOTALL)
if not declared:
    raise SystemExit("blasad.h has no part between /* cffi: begin */ and /* cffi: end */")

ffibuilder = FFI()
ffibuilder.cdef("\n".join([*declared, names]))
# The functions that the library calls for an operation of a Python program (blasad/operations.py).
ffibuilder.cdef("""
    extern "Python" int blasad_python_vjp(void *, int, void *const *, void *const *, void *const *, blasad_array *);
    extern "Python" int blasad_python_jvp(void *, int, void *const *, void *const *, void *const *, blasad_array *);
    extern "Python" void blasad_python_done(void *);
""")
# names_map.h comes ahead of the prototypes: what Python calls dgemm_ has to be libblasad's own
# entry, whichever library of the process the dynamic linker would give that name to.
ffibuilder.set_source(
    "blasad._core",
    """
    #include "blasad.h"
    #include "names_map.h"
    #include "names_cdef.h"
    """,
)
