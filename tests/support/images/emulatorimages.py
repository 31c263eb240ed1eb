"""Images that hold emulators, as `tonistiigi/binfmt` does, of the real ones of this machine; and a machine without."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from polyarch.emulation.probe import native_architecture
from tests.support.images.baseimages import layer_of, push_image, put_manifest

__all__ = ["bare_machine", "push_emulators", "real_qemu"]

_INDEX = "application/vnd.oci.image.index.v1+json"
_HIDE = """
for each in /usr/libexec/qemu-binfmt /usr/lib/binfmt.d /proc/sys/fs/binfmt_misc; do
    if [ -d $each ]; then mount -t tmpfs none $each || exit 1; fi
done
exec "$@"
"""


def real_qemu(qemu: str) -> bytes:
    """Return this machine's static emulator by QEMU's name of the architecture."""
    return Path(f"/usr/bin/qemu-{qemu}-static").read_bytes()


def push_emulators(
    host: str, name: str, programs: Mapping[str, bytes], scratch: Path, tag: str = "latest"
) -> str:
    """Push an index with one image for this machine, with `programs` in /usr/bin; return the image's digest."""
    root = scratch / f"{name.replace('/', '-')}-{tag}"
    directory = root / "usr/bin"
    directory.mkdir(parents=True)
    (directory / "binfmt").write_bytes(b"not an emulator")
    for program, data in programs.items():
        (directory / program).write_bytes(data)
        (directory / program).chmod(0o755)
    repository = f"http://{host}/v2/{name}"
    platform = {"os": "linux", "architecture": native_architecture()}
    descriptor = push_image(repository, layer_of(root), platform)
    manifests = [{**descriptor, "platform": platform}]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    put_manifest(repository, tag, _INDEX, json.dumps(index).encode())
    return str(descriptor["digest"])


def bare_machine(directory: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return variables and the words before a command that take it to where no emulator is installed."""
    programs = directory / "programs"
    programs.mkdir(parents=True)
    for place in ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"):
        for each in os.scandir(place):
            if not each.name.startswith("qemu-") and not (programs / each.name).is_symlink():
                (programs / each.name).symlink_to(each.path)
    for above in (programs, *programs.parents):
        if above.stat().st_uid == os.geteuid() and "pytest" in str(above):
            above.chmod(0o755)
    unshare = shutil.which("unshare")
    assert unshare
    return {"PATH": str(programs)}, (unshare, "--mount", "sh", "-c", _HIDE, "-")
