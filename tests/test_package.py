"""The package as it was installed: its files, their symbols, its metadata; nothing about derivatives."""

import importlib.metadata
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import blasad
from blasad import _core

CORE = Path(_core.__file__)
LIBRARY = CORE.with_name("libblasad.so")
BLAS_NAMES = {_core.ffi.string(_core.lib.blasad_name(i)).decode() for i in range(_core.lib.blasad_name_count())}
DISTRIBUTION = importlib.metadata.distribution("blasad")


def is_editable() -> bool:
    direct = json.loads(DISTRIBUTION.read_text("direct_url.json") or "{}")
    return bool(direct.get("dir_info", {}).get("editable"))


class Dynamic(NamedTuple):
    """What the dynamic linker reads of a library."""

    defined: set[str]
    undefined: set[str]
    needed: list[str]
    runpath: list[str]


def read_elf(path: Path) -> Dynamic:
    """Reads the dynamic section and symbol table of a 64-bit little-endian ELF file.

    By hand, because a machine that installs a wheel has no `nm` (ELF-64 Object File Format, 1998, and
    the System V gABI, chapters 4 and 5).
    """
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    at, size, count = struct.unpack_from("<Q10xHH", data, 0x28)[0], *struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + size * i) for i in range(count)]

    def text(table: int, offset: int) -> str:
        start = sections[table][4] + offset
        return data[start : data.index(b"\0", start)].decode()

    result = Dynamic(set(), set(), [], [])
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        if kind == 11:  # SHT_DYNSYM: 24 bytes each, the first one means no symbol
            for entry in range(offset + 24, offset + length, 24):
                name, _, _, section = struct.unpack_from("<IBBH", data, entry)
                (result.defined if section else result.undefined).add(text(link, name))
        elif kind == 6:  # SHT_DYNAMIC
            for tag, value in struct.iter_unpack("<QQ", data[offset : offset + length]):
                if tag == 1:  # DT_NEEDED
                    result.needed.append(text(link, value))
                elif tag in (15, 29):  # DT_RPATH, DT_RUNPATH
                    result.runpath.extend(text(link, value).split(":"))
    return result


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def mappings(maps: str) -> set[str]:
    """The files called libblasad.so among the lines of /proc/PID/maps."""
    return {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.endswith("/libblasad.so")}


def test_it_is_the_installed_package_that_is_tested():
    package = Path(blasad.__file__).parent
    assert is_editable() or package.samefile(DISTRIBUTION.locate_file("blasad"))


def test_version_is_the_librarys():
    assert _core.ffi.string(_core.lib.blasad_version()).decode() == DISTRIBUTION.version


def test_library_is_free_of_python():
    library = read_elf(LIBRARY)
    assert library.defined  # or the reader read nothing
    python = re.compile(r"_?Py[A-Z_]|_cffi")
    assert not {s for s in library.defined | library.undefined if python.match(s)}
    assert not [n for n in library.needed if "python" in n]


def test_library_exports_only_blas_names_and_its_own():
    """Whatever else it exported could take the place of a function of the program that loads it."""
    foreign = {s for s in read_elf(LIBRARY).defined if not s.startswith("blasad_")} - BLAS_NAMES
    # Where a linker marks the ends of segments with symbols, these are the marks.
    assert not foreign - {"_init", "_fini", "_edata", "_end", "__bss_start"}


def test_core_finds_the_library_beside_itself():
    core = read_elf(CORE)
    assert "libblasad.so" in core.needed
    if is_editable():  # it runs where it was built
        assert any(p.startswith("$ORIGIN") for p in core.runpath)
    else:
        assert core.runpath == ["$ORIGIN"]


def test_core_keeps_to_the_stable_abi():
    assert CORE.name == "_core.abi3.so"
    assert not [n for n in read_elf(CORE).needed if "python" in n]


def test_blas_names_of_core_are_the_librarys():
    """As symbols they have names of their own, or a BLAS in the process could serve core's calls instead."""
    undefined = read_elf(CORE).undefined
    assert {f"blasad_entry_{name}" for name in BLAS_NAMES} <= undefined
    assert not undefined & BLAS_NAMES


def test_preloaded_into_a_plain_program():
    """Every symbol is resolved at the start (LD_BIND_NOW), in a program that has no Python."""
    done = run("cat", "/proc/self/maps", LD_PRELOAD=str(LIBRARY), LD_BIND_NOW="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert mappings(done.stdout) == {str(LIBRARY.resolve())}


def test_preload_and_import_share_one_mapping():
    """Two copies would be two tapes."""
    script = "import blasad; print(open('/proc/self/maps').read())"
    done = run(sys.executable, "-c", script, LD_PRELOAD=str(LIBRARY), LD_BIND_NOW="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert mappings(done.stdout) == {str(LIBRARY.resolve())}


def test_wheel_is_for_every_python_from_3_11():
    wheel = DISTRIBUTION.read_text("WHEEL")
    assert wheel is not None
    tags = re.findall(r"^Tag: (.*)$", wheel, re.MULTILINE)
    assert tags
    assert all(re.fullmatch(r"cp311-abi3-(many)?linux.*_(x86_64|aarch64)", tag) for tag in tags)
    assert "Root-Is-Purelib: false" in wheel


def test_metadata():
    metadata = DISTRIBUTION.metadata
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"].replace(" ", "") == ">=3.11"
    runtime = {re.match(r"[\w.-]+", r).group() for r in DISTRIBUTION.requires if "extra ==" not in r}
    assert runtime == {"numpy", "scipy", "cffi"}
    (script,) = DISTRIBUTION.entry_points.select(group="console_scripts", name="blasad")
    assert callable(script.load())


def test_types_and_header_come_along():
    package = Path(blasad.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()
    if not is_editable():  # an editable package has its header in csrc
        assert "blasad_tape_open" in (package / "include" / "blasad.h").read_text()
