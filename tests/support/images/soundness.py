"""Whether a store, or an image at a registry, is whole."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from polyarch.store.checkup import check
from polyarch.store.store import Store
from tests.support.machine.engines import interpreter
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

__all__ = ["faults", "whole_platforms"]

_CHECK = """
import json, os
from pathlib import Path
from polyarch.namespaces.userns import enter_engine
enter_engine()
from polyarch.store.checkup import check
from polyarch.store.store import Store
{look_at}
print(json.dumps(look_at(Path(os.environ["POLYARCH_ROOT"]))))
"""


def faults(who: Person) -> list[list[str]]:
    """Open someone's store, as they do; return what is wrong with it, and what lies about in it."""
    if not who.root.exists():
        return [[], []]
    if who.user.uid == os.geteuid() and not who.prefix:
        return look_at(who.root)
    script = _CHECK.format(look_at=inspect.getsource(look_at))
    words = [*who.become(), interpreter(who.user), "-B", "-c", script]
    found: list[list[str]] = json.loads(who.run_other(*words).check().out)
    return found


def look_at(root: Path) -> list[list[str]]:
    with Store(root) as store:
        own = store.scratch.name
        problems = [problem.text for problem in check(store, deep=True)]
        return [problems, [name for name in os.listdir(root / "tmp") if name != own]]


def whole_platforms(registry: RealRegistry, name: str) -> list[str]:
    """Return the architectures of an image; every byte of all of them is there."""
    repository = f"http://{registry.host}/v2/{name.partition('/')[2]}"
    found = []
    top = json.loads(_fetch(f"{repository}/manifests/latest"))
    for entry in top.get("manifests", [None]):
        manifest = json.loads(_fetch(f"{repository}/manifests/{entry['digest']}")) if entry else top
        for blob in [manifest["config"], *manifest["layers"]]:
            data = _fetch(f"{repository}/blobs/{blob['digest']}")
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob["digest"]
        found.append(entry["platform"]["architecture"] if entry else "")
    return found


def _fetch(url: str) -> bytes:
    """Return what is at an address. The registry writes links in place, and answers 500 while one is half written."""
    for _ in range(20):
        try:
            return _fetch_once(url)
        except urllib.error.HTTPError as error:
            if error.code != 500:
                raise
            time.sleep(0.1)
    return _fetch_once(url)


def _fetch_once(url: str) -> bytes:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        data: bytes = answer.read()
        return data
