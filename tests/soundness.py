"""Whether a store, or an image at a registry, is whole."""

from __future__ import annotations

import hashlib
import json
import urllib.request

from engines import interpreter
from programs import Person
from servers import RealRegistry

__all__ = ["faults", "whole_platforms"]

_CHECK = """
import json, os
from pathlib import Path
from polyarch.runtime.userns import enter_engine
enter_engine()
from polyarch.store.checkup import check
from polyarch.store.store import Store
with Store(Path(os.environ["POLYARCH_ROOT"])) as store:
    own = store.scratch.name
    problems = [problem.text for problem in check(store, deep=True)]
    debris = [name for name in os.listdir(store.root / "tmp") if name != own]
print(json.dumps([problems, debris]))
"""


def faults(who: Person) -> list[list[str]]:
    """Open someone's store, as they do; return what is wrong with it, and what lies about in it."""
    if not who.root.exists():
        return [[], []]
    words = [*who.become(), interpreter(who.user), "-B", "-c", _CHECK]
    found: list[list[str]] = json.loads(who.run_other(*words).check().out)
    return found


def whole_platforms(registry: RealRegistry, name: str) -> list[str]:
    """Return the architectures of an image; every byte of all of them is there."""
    repository = f"http://{registry.host}/v2/{name.partition('/')[2]}"
    found = []
    for entry in json.loads(_fetch(f"{repository}/manifests/latest"))["manifests"]:
        manifest = _fetch(f"{repository}/manifests/{entry['digest']}")
        for blob in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
            data = _fetch(f"{repository}/blobs/{blob['digest']}")
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob["digest"]
        found.append(entry["platform"]["architecture"])
    return found


def _fetch(url: str) -> bytes:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        data: bytes = answer.read()
        return data
