"""The image of the main job: a greeting made on each platform, in stages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tests.support.machine.programs import Person

__all__ = ["DOCKERFILE", "GREETINGS", "PLATFORMS", "Greeter", "build_greeter", "shown_digests"]

DOCKERFILE = """\
FROM {base} AS builder
RUN mkdir /app
ADD . /app/
WORKDIR /app
RUN echo "Hello, $(uname -m)!" > hello && chown 0:0 hello

FROM {base}
RUN mkdir /app
WORKDIR /app
COPY --from=builder /app/hello .
CMD ["cat", "./hello"]
"""
PLATFORMS = "linux/arm,linux/arm64,linux/amd64"
GREETINGS = {
    "linux/arm/v7": "Hello, armv7l!\n",
    "linux/arm64": "Hello, aarch64!\n",
    "linux/amd64": "Hello, x86_64!\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeter:
    """A pushed image that greets: its name, and the digests of its index and of each platform."""

    name: str
    digest: str
    manifests: dict[str, str]


def build_greeter(who: Person, host: str, repository: str) -> Greeter:
    """Build it for all platforms, and push it to the registry at `host`."""
    name = f"{host}/{repository}"
    who.write("Dockerfile", DOCKERFILE.format(base=f"{host}/library/busybox"))
    words = ("-t", name, f"--platform={PLATFORMS}", "--metadata-file=../built.json", "--push")
    who.run("build", *words, ".").check()
    index = json.loads(who.run("imagetools", "inspect", "--raw", name).check().out)
    manifests = {
        "/".join(filter(None, (each["os"], each["architecture"], each.get("variant", "")))): digest
        for digest, each in ((entry["digest"], entry["platform"]) for entry in index["manifests"])
    }
    built = json.loads((who.home / "built.json").read_text())
    return Greeter(name=name, digest=built["containerimage.digest"], manifests=manifests)


def shown_digests(shown: str) -> dict[str, str]:
    """Return the digests by platform that `imagetools inspect` shows."""
    platforms = re.findall(r"Platform: +(\S+)", shown)
    return dict(zip(platforms, re.findall(r"Name: +\S+@(sha256:\S+)", shown), strict=True))
