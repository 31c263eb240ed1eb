"""Images with files of many owners: whoever builds them, root or somebody with a single id, they are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.machine.engines import ROOT, User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS first
COPY --chown=1:11 given /five/copied
RUN cd /five && for i in 2 3 4 5; do \\
      echo $i >f$i; mkdir d$i; ln -s f$i l$i; mkfifo p$i; chown -h $i:1$i f$i d$i l$i p$i; done; \\
    chmod 4755 f2 && chown 3 f2 && chmod 2775 d3 && cp -a /five /again
RUN echo app:x:1000:1001::/home/app:/bin/sh >>/etc/passwd && echo app:x:1001: >>/etc/group && mkdir /app && \\
    touch /app/x && chown -R app:app /app && echo left >/five/d3/new
USER app
WORKDIR /home/app/work
RUN umask 027; touch mine; mkdir -p a/b; ln -s mine link; mkfifo p; cp -a /five theirs; mv link moved; echo >>/app/x
USER root
RUN rm /five/f5; mv /five/l2 /five/l9; chown 7:7 /five/f3; echo more >>/five/f4; \\
    su app -c 'echo x >~/by-su'; cd /app && tar -cf /tmp/t . && mkdir /tmp/out && tar -C /tmp/out -xf /tmp/t; rm /tmp/t
FROM first
COPY --from=first /five /copied
"""


def manifest_of(who: Person, host: str, platform: str) -> tuple[str, list[str]]:
    """Build the image; return the digest of its configuration and its layers."""
    who.write("Dockerfile", DOCKERFILE.format(base=f"{host}/library/busybox"))
    who.write("given", "content\n")
    who.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    output = "type=oci,dest=out,tar=false,rewrite-timestamp=true"
    who.run("build", f"--platform={platform}", "--provenance=false", "-o", output, ".").check()

    def blob(digest: str) -> dict[str, list[dict[str, str]]]:
        path = who.work / "out/blobs" / digest.replace(":", "/")
        loaded: dict[str, list[dict[str, str]]] = json.loads(path.read_text())
        return loaded

    index = json.loads((who.work / "out/index.json").read_text())
    digest = index["manifests"][0]["digest"]
    while "layers" not in blob(digest):
        digest = blob(digest)["manifests"][0]["digest"]
    return digest, [layer["digest"] for layer in blob(digest)["layers"]]


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/arm/v7"])
def test_one_id_gives_the_image_of_root(
    user_with_one_id: User, registry: RealRegistry, tmp_path: Path, platform: str
) -> None:
    found = [
        manifest_of(person(user, tmp_path / user.name), registry.host, platform)
        for user in (ROOT, user_with_one_id)
    ]

    assert found[0] == found[1]
