"""What Python's twin leaves to the emulator, since its results depend on the CPU: it ends there.

Where functions written in C are sums of products, they round otherwise on a CPU that multiplies and adds in one
instruction (`libm`): those of complex numbers, `math.gamma`, `hypot` and their like, `cmath`, `statistics.NormalDist`. What
Python calculates by itself, in floating-point numbers that aren't complex, is one operation of the CPU after
another, which IEEE 754 defines. Sizes of caches are the CPU's: `os.sysconf` doesn't tell them.

Much imports ctypes and doesn't use it (the package wheel, for macOS): it's there, and ends the twin when it opens a
library or calls a function of one.

Source: Include/cpython/object.h (PyTypeObject, PyNumberMethods), Modules/mathmodule.c of CPython 3.11.
"""

from __future__ import annotations

import os
import re
import struct

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.libm import can_round_once
from polyarch.twins.patch_refusals import (
    refuse_entries,
    refuse_imports,
    refuse_numbers,
    refuse_pointers,
    refuse_slots,
)

__all__ = ["check_built_alike", "limit_module", "limit_python"]

_CALLING = ("dlsym", "ffi_call")
_METHODS = (b"cmath", b"_statistics", b"dist", b"gamma", b"hypot", b"lgamma")
"""Functions of Python's own; of modules, what begins them."""
_COMPLEX, _NUMBER = "PyComplex_Type", 96
"""The type of complex numbers, and where in a type the address of its table of operations is."""
_MULTIPLY, _POWER, _DIVIDE = 16, 40, 240
_CACHES = range(185, 200)
"""_SC_LEVEL1_ICACHE_SIZE to _SC_LEVEL4_CACHE_LINESIZE of glibc."""
_BUILT = re.compile(
    rb"(?<=\0)(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{4}|[0-9]{2}:[0-9]{2}:[0-9]{2}|\n?\[GCC [^\0]{1,40}\])(?=\0)"
)
"""When it was compiled, and by what: `sys.version` says so."""


def check_built_alike(native: ElfFile, foreign: ElfFile) -> None:
    """Check that the native Python says the same of itself, and calculates the same here.

    Raises MachineError if it doesn't.
    """
    ours, theirs = (set(_BUILT.findall(each.data)) for each in (native, foreign))
    if ours != theirs:
        raise MachineError("it was compiled at another time, or by another compiler")
    if not can_round_once():
        raise MachineError("this CPU doesn't multiply and add in one instruction")


def limit_python(extended: Extended, program: ElfFile, refusal: int) -> None:
    """Let all of this end Python's twin, by the code at the address `refusal`.

    Raises MachineError for a Python in which it isn't found, and for one that has no fixed addresses.
    """
    if not extended.is_fixed:
        raise MachineError("it has no fixed addresses")
    refuse_numbers(extended, program.import_slot("sysconf"), _CACHES, refusal)
    refuse_entries(extended, _METHODS, refusal)
    kind, _ = program.exported(_COMPLEX)
    (table,) = struct.unpack_from("<Q", extended.data, extended.offset(kind + _NUMBER))
    refuse_slots(extended, table, (_MULTIPLY, _POWER, _DIVIDE), refusal)


def limit_module(extended: Extended, module: ElfFile, refusal: int) -> None:
    """Let what a module does for other libraries end Python's twin, if it's that of ctypes. Raises as `limit_python`."""
    if os.path.basename(module.name).startswith("_ctypes."):
        refuse_imports(extended, module, _CALLING, refusal)
        refuse_pointers(extended, module.import_slot("dlopen"), "dlopen", refusal)
