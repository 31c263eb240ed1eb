"""Functions of libm that round otherwise on the foreign machine: a twin that calls one of them ends (`patch_refusals`).

Compilers make one instruction of a multiplication and an addition where the CPU has it, which rounds once: gcc does for
arm64, and doesn't for x86-64 and Debian's armhf. So sums of products come out otherwise, in their last bits. glibc has some
functions for such x86-64 CPUs, too, and takes them where it can. Those were compared with arm64's one by one, for 6,400,000
arguments each, of eight kinds: `exp`, `log`, `pow`, `sin`, `cos`, `tan`, `asin`, `acos`, `atan`, `atan2` are the same. None of them is
that of armhf. Exact ones (`sqrt`, `fmod`, `floor`, ...) are the same everywhere. musl has one version of all.

Source: sysdeps/x86_64/fpu/multiarch and sysdeps/ieee754/dbl-64 of glibc 2.36.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

__all__ = ["can_round_once", "rounded_otherwise"]

_IN_VARIANTS = ("acos", "asin", "atan", "atan2", "cos", "exp", "log", "pow", "sin", "sincos", "tan")
_IN_ONE = (
    *("acosh", "asinh", "atanh", "cbrt", "cosh", "erf", "erfc", "exp10", "exp2", "expm1", "fma"),
    *("gamma", "hypot", "j0", "j1", "jn", "lgamma", "lgamma_r", "log10", "log1p", "log2"),
    *("sinh", "tanh", "tgamma", "y0", "y1", "yn"),
)
_ROUND_TWICE = frozenset({"arm"})
_FLAGS = re.compile(r"^flags\s*:(.*)$", re.MULTILINE)
_BOTH = {"fma", "avx2"}


def can_round_once(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether glibc takes the functions for CPUs that multiply and add in one instruction."""
    with suppress(OSError):
        found = _FLAGS.search(cpuinfo.read_text())
        return found is not None and set(found[1].split()) >= _BOTH
    return False


def rounded_otherwise(architecture: str, *, is_glibc: bool, once: bool) -> tuple[str, ...]:
    """Return the functions that round otherwise on a machine; `once` is what `can_round_once` tells of this one."""
    if is_glibc and once and architecture not in _ROUND_TWICE:
        return _IN_ONE
    return (*_IN_VARIANTS, *_IN_ONE)
