"""Removes a directory with what steps made in it, which may belong to subordinate ids of the user, or lie a thousand directories deep."""

from __future__ import annotations

import sys

from polyarch.namespaces.userns import enter_engine, needs_user_namespace
from polyarch.store.trees import remove_tree

if __name__ == "__main__":
    if needs_user_namespace():
        enter_engine()
    remove_tree(sys.argv[1])
