"""The numbers and names by which LLB calls things. Source: BuildKit's `solver/pb/ops.proto`."""

from __future__ import annotations

from polyarch.graph.op import Sharing

__all__ = [
    "BIND",
    "BUILD",
    "CACHE",
    "COPY",
    "DIFF",
    "EXEC",
    "FILE",
    "MERGE",
    "MKDIR",
    "MKFILE",
    "NETWORKS",
    "PASSTHROUGH",
    "PROXIES",
    "RM",
    "SECRET",
    "SECURITIES",
    "SHARINGS",
    "SOURCE",
    "SSH",
    "SYMLINK",
    "TMPFS",
]

EXEC, SOURCE, FILE, BUILD, MERGE, DIFF, PASSTHROUGH = range(2, 9)
"""The fields of an op, of which it has one."""
COPY, MKFILE, MKDIR, RM, SYMLINK = range(4, 9)
"""The fields of a file op's action, likewise."""
BIND, SECRET, SSH, CACHE, TMPFS = range(5)
"""Types of mounts."""
NETWORKS = ("default", "host", "none")
SECURITIES = ("sandbox", "insecure")
SHARINGS = (Sharing.SHARED, Sharing.PRIVATE, Sharing.LOCKED)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""The fields of a ProxyEnv, in their order, from 1 on."""
