"""The standard library by name. `try`, `can` and `convert` are the evaluator's, as they take expressions."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bakefile.hcl.functions.arithmetic import ARITHMETIC
from polyarch.bakefile.hcl.functions.collections import COLLECTIONS
from polyarch.bakefile.hcl.functions.encodings import ENCODINGS
from polyarch.bakefile.hcl.functions.formats import FORMATS
from polyarch.bakefile.hcl.functions.networks import NETWORKS
from polyarch.bakefile.hcl.functions.regexes import REGEXES
from polyarch.bakefile.hcl.functions.sets import SETS
from polyarch.bakefile.hcl.functions.spec import Function
from polyarch.bakefile.hcl.functions.texts import TEXTS
from polyarch.bakefile.hcl.functions.times import TIMES

__all__ = ["LIBRARY"]

LIBRARY: Mapping[str, Function] = {
    **ARITHMETIC,
    **COLLECTIONS,
    **ENCODINGS,
    **FORMATS,
    **NETWORKS,
    **REGEXES,
    **SETS,
    **TEXTS,
    **TIMES,
}
