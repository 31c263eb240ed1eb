"""Removes a folder with what steps made in it, which may belong to subordinate ids of the user."""

from __future__ import annotations

import shutil
import sys

from polyarch.runtime.userns import enter_engine, needs_user_namespace

if __name__ == "__main__":
    if needs_user_namespace():
        enter_engine()
    shutil.rmtree(sys.argv[1])
