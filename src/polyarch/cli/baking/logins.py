"""Targets of a definition in a repository get what its server was shown: the same token, or an agent of ssh.

Source: behaviour of buildx's `shouldAttachGitAuthSecrets` and `toBuildOpt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from polyarch.bakefile.addresses import is_remote
from polyarch.bakefile.config import Plan
from polyarch.bakefile.entries import Secret, Ssh
from polyarch.bakefile.target import Target
from polyarch.record import replace

__all__ = ["with_logins"]


def with_logins(plan: Plan, address: str, environ: Mapping[str, str]) -> Plan:
    """Return a plan whose targets may fetch from where the definition at `address` came from."""
    if not address:
        return plan
    # It loads what fetches.
    from polyarch.pipeline.definitions import git_secrets  # noqa: PLC0415

    found = git_secrets(address, environ)
    secrets = tuple(Secret(id=name, path="", env=variable) for name, variable in found.items())
    targets = {}
    for name, target in plan.targets.items():
        if secrets and _host(target.context or "") == _host(address):
            target = replace(target, secret=(*(target.secret or ()), *secrets))  # noqa: PLW2901
        targets[name] = _with_agent(target) if _is_ssh(address) else target
    return replace(plan, targets=targets)


def _with_agent(target: Target) -> Target:
    return target if target.ssh else replace(target, ssh=(Ssh(id="default"),))


def _host(address: str) -> str:
    if not is_remote(address):
        return ""
    return urlsplit(address).netloc.rpartition("@")[2].lower()


def _is_ssh(address: str) -> bool:
    return address.startswith("ssh://") or ("@" in address and "://" not in address)
