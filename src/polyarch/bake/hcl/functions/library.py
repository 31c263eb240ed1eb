"""The standard library by name. `try`, `can` and `convert` are the evaluator's, as they take expressions."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bake.hcl.functions.arithmetic import ARITHMETIC
from polyarch.bake.hcl.functions.collections import COLLECTIONS
from polyarch.bake.hcl.functions.encodings import ENCODINGS
from polyarch.bake.hcl.functions.formats import FORMATS
from polyarch.bake.hcl.functions.networks import NETWORKS
from polyarch.bake.hcl.functions.regexes import REGEXES
from polyarch.bake.hcl.functions.sets import SETS
from polyarch.bake.hcl.functions.spec import Function
from polyarch.bake.hcl.functions.texts import TEXTS
from polyarch.bake.hcl.functions.times import TIMES

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
