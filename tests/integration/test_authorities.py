"""A CA of a company: trusted by a registry's client and in steps, without a trace in the image."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.images.rootfs import make_rootfs
from tests.support.machine.programs import Person
from tests.support.network.certificates import server_side
from tests.support.network.web import Page, web_server

pytestmark = [pytest.mark.root]

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
PROGRAMS = ("/usr/bin/openssl", "/usr/bin/git", "/usr/lib/git-core/git-remote-https")


def put_programs(root: Path, programs: Iterable[str]) -> None:
    """Copy programs of this machine into a root, with the libraries that they need."""
    for program in programs:
        listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)
        words = [word for line in listed.stdout.splitlines() for word in line.split()]
        for name in (program, *(word for word in words if word.startswith("/"))):
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copy(name, target)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a root with openssl, git and a bundle that holds another CA."""
    root = make_rootfs(tmp_path_factory.mktemp("base") / "root")
    put_programs(root, PROGRAMS)
    put_bundle(root)
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as file:
        file.add(root, ".")
    return archive


def put_bundle(root: Path) -> None:
    """Write a bundle that holds another CA."""
    (root / BUNDLE).parent.mkdir(parents=True)
    words = [
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        "/CN=other",
    ]
    subprocess.run(
        ["openssl", *words, "-keyout", "/dev/null", "-out", root / BUNDLE],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("user", ["root", "one id"], indirect=True)
def test_in_steps_without_a_trace(who: Person, base: Path, certificates: Path) -> None:
    shutil.copy(base, who.work / "base.tar")
    ca = who.write("ca.crt", (certificates / "ca.crt").read_text())
    with web_server(server_side(certificates)) as web:
        web.pages["/r/info/refs"] = Page(b"")
        who.write(
            "Dockerfile",
            "FROM scratch\nADD base.tar /\n"
            f"RUN git ls-remote {web.address}/r"
            f" && openssl s_client -verify_return_error -connect {web.host} < /dev/null"
            f" && test $(grep -c BEGIN /{BUNDLE}) = 2\n"
            # As update-ca-certificates does it, and then something that relies on the bundle.
            f"RUN openssl x509 -in /{BUNDLE} -out /{BUNDLE}.new && mv /{BUNDLE}.new /{BUNDLE}"
            f" && until test $(grep -c BEGIN /{BUNDLE}) = 2; do :; done"
            f" && git -c http.sslCAInfo=/{BUNDLE} ls-remote {web.address}/r"
            f" && echo '# added' >> /{BUNDLE}\n",
        )
        without = who.run("build", ".")
        output = ("-o", "type=oci,dest=app,tar=false", ".")
        who.run("build", "--ca", str(ca), *output).check()
    again = who.run("build", *output).check()

    assert "server certificate verification failed" in without.err
    assert again.err.count("CACHED") == 3
    _, first, second = layers_of(who.work / "app")
    assert (first, list(second)) == ({}, [BUNDLE])
    with tarfile.open(base) as archive:
        own = archive.extractfile(f"./{BUNDLE}")
        assert own is not None
        assert second[BUNDLE] == own.read() + b"# added\n"


def layers_of(layout: Path) -> list[dict[str, bytes]]:
    """Return the files of each layer of an image, base first."""

    def read(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    [root, *_] = json.loads((layout / "index.json").read_text())["manifests"]
    document = json.loads(read(root["digest"]).read_text())
    if "manifests" in document:
        document = json.loads(read(document["manifests"][0]["digest"]).read_text())
    found = []
    for layer in document["layers"]:
        files = {}
        with tarfile.open(read(layer["digest"])) as archive:
            for each in archive:
                if (opened := archive.extractfile(each) if each.isfile() else None) is not None:
                    files[each.name] = opened.read()
        found.append(files)
    return found


def put_npm(root: Path) -> None:
    """Copy node and npm of this machine into a root, wherever it has npm's own modules."""
    npm = shutil.which("npm")
    node = shutil.which("node")
    assert npm, "npm is missing: make test installs it"
    assert node
    put_programs(root, (node,))
    for each in (Path(npm).resolve().parents[1], Path("/usr/share/nodejs")):
        target = root / each.relative_to("/")
        if each.exists() and not target.exists():
            shutil.copytree(each, target, ignore_dangling_symlinks=True)
    (root / "node").symlink_to(node)
    (root / "npm.js").symlink_to(Path(npm).resolve())


def test_wget_and_npm(root: Person, certificates: Path) -> None:
    image = make_rootfs(root.work / "root")
    put_programs(image, ("/usr/bin/wget",))
    put_npm(image)
    put_bundle(image)
    ca = root.write("ca.crt", (certificates / "ca.crt").read_text())
    package = {
        "name": "left",
        "dist-tags": {"latest": "1.2.3"},
        "versions": {"1.2.3": {"name": "left", "version": "1.2.3"}},
    }
    with web_server(server_side(certificates)) as web:
        web.pages["/left"] = Page(json.dumps(package).encode())
        asked = {
            "wget": f"/usr/bin/wget --tries=1 -O- {web.address}/left",
            "npm": f"/node /npm.js view left version --registry={web.address}/ --fetch-retries=0",
        }
        for name, command in asked.items():
            root.write(f"{name}.d", f"FROM scratch\nCOPY root /\nRUN HOME=/tmp {command}\n")
            words = ("build", "-f", f"{name}.d", "--progress=plain", ".")

            without = root.run(*words)
            trusting = root.run(*words, "--ca", str(ca)).check()

            assert without.status == 1, name
            assert "certificate" in without.err, name
            assert "1.2.3" in trusting.err, name
