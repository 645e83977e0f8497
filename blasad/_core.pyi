from typing import Any

# The cffi module; its declarations are csrc/blasad.h and the names of csrc/routines.toml.
ffi: Any
lib: Any
