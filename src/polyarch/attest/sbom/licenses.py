"""What packages say of their licenses -> expressions of SPDX, or texts with a name of their own.

Source: the SPDX specification 2.3, annexes on license expressions; the commonest entries of its license list.
"""

from __future__ import annotations

import re

from polyarch.pattern import pattern

__all__ = ["is_expression", "reference"]

_WORD = pattern(r"\(|\)|[^\s()]+")
# fmt: off
_KNOWN = frozenset({
    "0BSD", "AFL-2.1", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-1.1", "Apache-2.0", "Artistic-1.0",
    "Artistic-1.0-Perl", "Artistic-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "BSD-4-Clause-UC",
    "BSL-1.0", "BlueOak-1.0.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDDL-1.0",
    "CDDL-1.1", "EPL-1.0", "EPL-2.0", "EUPL-1.2", "FSFAP", "FSFUL", "FSFULLR", "FTL", "GFDL-1.3-only", "GFDL-1.3-or-later",
    "GPL-1.0-only", "GPL-1.0-or-later", "GPL-2.0", "GPL-2.0+", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0+",
    "GPL-3.0-only", "GPL-3.0-or-later", "HPND", "ICU", "IJG", "ISC", "Info-ZIP", "LGPL-2.0-only", "LGPL-2.0-or-later",
    "LGPL-2.1", "LGPL-2.1+", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0", "LGPL-3.0+", "LGPL-3.0-only",
    "LGPL-3.0-or-later", "Libpng", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "MS-PL", "MulanPSL-2.0", "NCSA", "OFL-1.1",
    "OLDAP-2.8", "OpenSSL", "PHP-3.01", "PSF-2.0", "PostgreSQL", "Python-2.0", "Python-2.0.1", "Ruby", "SSLeay",
    "Sleepycat", "TCL", "UPL-1.0", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "Vim", "W3C", "WTFPL", "X11", "ZPL-2.1",
    "Zlib", "blessing", "bzip2-1.0.6", "curl", "zlib-acknowledgement",
})
_EXCEPTIONS = frozenset({
    "Autoconf-exception-3.0", "Bison-exception-2.2", "Classpath-exception-2.0", "GCC-exception-2.0", "GCC-exception-3.1",
    "LLVM-exception", "Linux-syscall-note", "OpenSSL-exception", "Font-exception-2.0", "Libtool-exception",
})
# fmt: on


def is_expression(text: str) -> bool:
    """Tell whether a text is an expression of licenses that are known: `MIT OR (Apache-2.0 AND Zlib)`."""
    if len(text) > 1000:
        return False
    depth, wants_name, after_with = 0, True, False
    for word in _WORD.findall(text):
        if word == "(" and wants_name and not after_with:
            depth += 1
        elif word == ")" and not wants_name and depth:
            depth -= 1
        elif wants_name and word in (_EXCEPTIONS if after_with else _KNOWN):
            wants_name = after_with = False
        elif not wants_name and word in {"AND", "OR", "WITH"}:
            wants_name, after_with = True, word == "WITH"
        else:
            return False
    return not wants_name and not depth


def reference(text: str) -> str:
    """Return a name for a license that is told by its text alone."""
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[:80] or "unknown")
