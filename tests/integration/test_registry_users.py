"""Who one is at a real registry: passwords, helpers, identity tokens, certificates, mirrors."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.daemons import daemon
from tests.support.machine.programs import Person, person
from tests.support.machine.users import for_one_user, for_users_each_with
from tests.support.network.certificates import make_certificates
from tests.support.network.plants import LAYER, plant_image, tar_of
from tests.support.network.registry import Registry, digest_of, serving
from tests.support.network.servers import RealRegistry, real_registry

pytestmark = [pytest.mark.root]

USER, PASSWORD = "tester", "open-sesame-5"
# What `htpasswd -nbB -C 5 tester open-sesame-5` prints; the registry takes bcrypt only.
HTPASSWD = "tester:$2y$05$abcdefghijklmnopqrstuu8PInH4z4H4PW0uV6bGqOr/tA0IpYFTG\n"
HELPER = """#!/bin/sh
echo "$1" >> "$HOME/helper.log"
case "$1" in
    get) cat > /dev/null; cat "$HOME/secret.json" ;;
    store) cat > "$HOME/secret.json" ;;
    erase) cat > /dev/null; rm "$HOME/secret.json" ;;
esac
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry that lets in one user only."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "htpasswd").write_text(HTPASSWD)
    with real_registry(
        directory, f"auth: {{htpasswd: {{realm: tests, path: {directory}/htpasswd}}}}\n"
    ) as server:
        yield server


@pytest.fixture
def programmed() -> Iterator[Registry]:
    with serving() as server:
        yield server


def config(who: Person, **content: object) -> None:
    who.write("../.docker/config.json", json.dumps(content))


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def push(who: Person, host: str, name: str) -> None:
    who.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    who.run("build", "-t", f"{host}/{name}", "--push", ".").check()


@for_one_user
def test_basic_auth_of_the_config(who: Person, guarded: RealRegistry) -> None:
    config(who, auths={guarded.host: auth(USER, PASSWORD)})
    name = f"{guarded.host}/{who.user.name}/basic"

    push(who, guarded.host, f"{who.user.name}/basic")
    who.run("pull", name).check()


def test_without_a_password(root: Person, guarded: RealRegistry) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    ended = root.run("build", "-t", f"{guarded.host}/nobody", "--push", ".")

    assert ended.status == 77
    assert "push access denied, repository does not exist or may require authorization" in (
        ended.complaint()
    )
    assert ended.complaint().endswith(f": polyarch login {guarded.host}\n")


def test_login_by_standard_input(root: Person, guarded: RealRegistry) -> None:
    words = root.command("login", "-u", USER, "--password-stdin", guarded.host)
    ended = root.run_other("sh", "-c", f'echo {PASSWORD} | "$@"', "sh", *words).check()

    assert ended.out == "Login Succeeded\n"
    path = root.home / ".docker/config.json"
    assert json.loads(path.read_text()) == {"auths": {guarded.host: auth(USER, PASSWORD)}}
    assert path.stat().st_mode & 0o777 == 0o600
    push(root, guarded.host, "login")


def test_login_with_a_wrong_password(root: Person, guarded: RealRegistry) -> None:
    ended = root.run("login", "-u", USER, "-p", "wrong-password", guarded.host)

    assert ended.status == 77
    assert ended.complaint() == (
        f"ERROR: Get http://{guarded.host}/v2/: unauthorized: status 401\n"
        "hint: check the user and the password\n"
    )
    assert not (root.home / ".docker/config.json").exists()


@for_users_each_with("key", "credsStore", "credHelpers", "credsStore")
def test_a_credential_helper(who: Person, guarded: RealRegistry, key: str) -> None:
    who.write("bin/docker-credential-tests", HELPER, 0o755)
    who.environ["PATH"] = f"{who.work}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config(who, **{key: "tests" if key == "credsStore" else {guarded.host: "tests"}})

    who.run("login", "-u", USER, "-p", PASSWORD, guarded.host).check()
    push(who, guarded.host, f"{who.user.name}/helped")
    who.run("logout", guarded.host).check()

    assert PASSWORD not in (who.home / ".docker/config.json").read_text()
    assert (who.home / "helper.log").read_text().split() == ["store", "get", "erase"]
    assert not (who.home / "secret.json").exists()


def test_explained_settings(root: Person, guarded: RealRegistry) -> None:
    config(root, auths={guarded.host: auth(USER, PASSWORD)})
    settings(root, guarded.host, "http = true", 'ca = ["/ca.pem"]')
    name = f"{guarded.host}/you/app"

    text = root.run("registry", "explain", name).check().out
    record = json.loads(root.run("registry", "explain", "--format", "json", name).check().out)

    asked = f"http://{guarded.host}/v2/you/app"
    path = f"{root.home}/.docker/config.json"
    assert text == (
        f"{name} is asked for at\n"
        f"1. {asked}\n"
        f"   decided by:          {root.home}/.config/polyarch/registries.toml\n"
        "   TLS:                 none\n"
        "   CAs:                 /ca.pem\n"
        f"   user:                {USER}, known from {path}\n"
    )
    (host,) = record["Hosts"]
    assert (host["URL"], host["User"], host["CredentialsFrom"]) == (asked, USER, path)
    assert PASSWORD not in text + json.dumps(record)


def test_a_helper_that_is_missing(root: Person, guarded: RealRegistry) -> None:
    config(root, credsStore="nowhere")
    ended = root.run("pull", f"{guarded.host}/app")

    assert ended.status == 1
    assert "docker-credential-nowhere" in ended.complaint()
    assert "hint: " in ended.complaint()


def test_a_helper_that_fails(root: Person, guarded: RealRegistry) -> None:
    root.write("bin/docker-credential-tests", "#!/bin/sh\necho locked; exit 1\n", 0o755)
    root.environ["PATH"] = f"{root.work}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config(root, credsStore="tests")
    ended = root.run("pull", f"{guarded.host}/app")

    assert ended.status == 1
    assert ended.complaint().startswith(f"ERROR: can't get the credentials of {guarded.host}: ")
    assert ended.complaint().endswith(
        "hint: fix or remove the credential helper in Docker's config.json\n"
    )


def test_an_identity_token(root: Person, programmed: Registry) -> None:
    plant_image(programmed, "app", tar_of([("file", {}, b"1")]))
    programmed.token, programmed.identity = "access", "identity-5"
    entry = {"identitytoken": "identity-5", "auth": ""}
    config(root, auths={programmed.host: entry})

    root.run("pull", f"{programmed.host}/app").check()

    form = programmed.forms[0]
    assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["identity-5"])
    assert form["scope"] == ["repository:app:pull"]


def test_a_mirror_answers(root: Person, registry: RealRegistry) -> None:
    root.write(
        "../.config/polyarch/registries.toml",
        f'[registry."docker.io"]\nmirrors = ["{registry.host}"]\n',
    )
    root.write("Dockerfile", "FROM busybox\nCOPY Dockerfile /\n")

    root.run("build", "-o", "out", ".").check()

    assert (root.work / "out/bin/sh").exists() or (root.work / "out/bin/busybox").exists()


def test_a_cached_build_whose_registry_and_mirror_are_gone(
    root: Person, programmed: Registry
) -> None:
    with serving() as gone:
        name = gone.host
    settings(root, name, f'mirrors = ["{programmed.host}"]')
    plant_image(programmed, "app", tar_of([("file", {}, b"text")]))
    root.write("Dockerfile", f"FROM {name}/app\nCOPY Dockerfile /\n")
    root.run("build", "-o", "out", ".").check()
    programmed.failures = {
        f"{verb} /v2/app/manifests/latest?ns={name.replace(':', '%3A')}": [503] * 99
        for verb in ("HEAD", "GET")
    }

    ended = root.run("build", "-o", "out", ".").check()
    asked = root.run("build", "--pull", "-o", "out", ".")

    assert asked.status == 69
    for each in (ended, asked):
        assert f"can't reach the registry at {name}: " in each.err
        assert f"; its mirror {programmed.host} said 503 before" in each.err
    assert f": used is {name}/app as of " in ended.err


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_layer_is_mounted_from_its_repository(
    root: Person, registry: RealRegistry, *, later: bool
) -> None:
    name = f"{registry.host}/mounted/{'later' if later else 'now'}"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\nCOPY Dockerfile /\n")
    asked = len(registry.requests())

    root.run("build", "-t", name, *([] if later else ["--push"]), ".").check()
    if later:
        root.run("push", name).check()

    mounts, uploads = transfers(registry.requests()[asked:])
    assert len(mounts) == 1
    assert "from=library%2Fbusybox" in mounts[0]
    assert len(uploads) == 2  # the new layer and the config


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_what_was_pushed_once_is_mounted(
    root: Person, registry: RealRegistry, *, later: bool
) -> None:
    one, two = (f"{registry.host}/pushed/{'l' if later else 'n'}{number}" for number in (1, 2))
    root.write("Dockerfile", f"FROM scratch\nCOPY Dockerfile /{one[-2:]}\n")
    root.run("build", "-t", one, *([] if later else ["--push"]), ".").check()
    if later:
        root.run("push", one).check()
    asked = len(registry.requests())

    root.run("tag", one, two).check()
    root.run("push", two).check()

    mounts, uploads = transfers(registry.requests()[asked:])
    assert [f"from=pushed%2F{one[-2:]}" in line for line in mounts] == [True] * len(mounts)
    assert (len(mounts), len(uploads)) == (2, 0)


def test_what_was_pulled_is_mounted(root: Person, registry: RealRegistry) -> None:
    base, copy = f"{registry.host}/library/busybox", f"{registry.host}/pulled/copy"
    root.run("pull", "--all-platforms", base).check()
    root.run("tag", base, copy).check()
    asked = len(registry.requests())

    root.run("push", copy).check()

    mounts, uploads = transfers(registry.requests()[asked:])
    assert mounts
    assert all("from=library%2Fbusybox" in line for line in mounts)
    assert uploads == []


def transfers(requests: list[str]) -> tuple[list[str], list[str]]:
    """Return which blobs were asked to be mounted, and which were uploaded."""
    mounts = [line for line in requests if "mount=" in line]
    return mounts, [line for line in requests if line.startswith("PUT") and "blobs" in line]


# --- HTTPS ---


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealRegistry, Path]]:
    """A registry whose certificate a CA has signed that nobody knows; and that CA's certificate."""
    directory = tmp_path_factory.mktemp("secure")
    make_certificates(directory)
    tls = f"  tls: {{certificate: {directory}/server.crt, key: {directory}/server.key}}\n"
    with real_registry(directory, tls) as server:
        yield server, directory / "ca.crt"


def settings(who: Person, host: str, *lines: str) -> None:
    text = "\n".join((f'[registry."{host}"]', *lines, ""))
    who.write("../.config/polyarch/registries.toml", text)


def test_https_where_http_was_expected(root: Person, secure: tuple[RealRegistry, Path]) -> None:
    host = secure[0].host
    ended = root.run("pull", f"{host}/app")

    assert ended.status == 76
    assert ended.complaint() == (
        f"ERROR: can't get the manifest of {host}/app: "
        f"GET http://{host}/v2/app/manifests/latest says 400\n"
        f'hint: it may want HTTPS: set http = false for [registry."{host}"] '
        "in ~/.config/polyarch/registries.toml\n"
    )


def test_http_where_https_was_expected(root: Person, registry: RealRegistry) -> None:
    settings(root, registry.host, "http = false")
    ended = root.run("pull", f"{registry.host}/library/busybox")

    assert ended.status == 69
    assert ended.complaint().startswith(f"ERROR: can't reach the registry at {registry.host}: [SSL")
    assert ended.complaint().endswith(
        f'hint: it speaks plain HTTP: set http = true for [registry."{registry.host}"] '
        "in ~/.config/polyarch/registries.toml\n"
    )


def test_an_unknown_authority(root: Person, secure: tuple[RealRegistry, Path]) -> None:
    host = secure[0].host
    settings(root, host, "http = false")
    ended = root.run("pull", f"{host}/app")

    assert ended.status == 69
    assert "CERTIFICATE_VERIFY_FAILED" in ended.complaint()
    assert ended.complaint().endswith(
        f"hint: trust its CA: put it into /etc/docker/certs.d/{host}/ca.crt, or name it by "
        f'ca = ["FILE"] for [registry."{host}"] in ~/.config/polyarch/registries.toml\n'
    )


@for_one_user
def test_an_authority_of_the_settings(who: Person, secure: tuple[RealRegistry, Path]) -> None:
    server, authority = secure
    who.write("ca.crt", authority.read_text())
    settings(who, server.host, f'ca = ["{who.work}/ca.crt"]')

    push(who, server.host, f"{who.user.name}/trusted")
    who.run("pull", f"{server.host}/{who.user.name}/trusted").check()


def test_an_authority_where_docker_has_it(root: Person, secure: tuple[RealRegistry, Path]) -> None:
    server, authority = secure
    directory = f"/etc/docker/certs.d/{server.host}"
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    words = root.command("build", "-t", f"{server.host}/docker", "--push", ".")
    # In a mount namespace of its own: the machine's settings stay as they are.
    setup = (
        f"mkdir -p /etc/docker; mount -t tmpfs none /etc/docker; mkdir -p {directory}; "
        f'cp {authority} {directory}/ca.crt; exec "$@"'
    )
    root.run_other("unshare", "--mount", "sh", "-ec", setup, "sh", *words).check()


def test_trust_in_anyone(root: Person, secure: tuple[RealRegistry, Path]) -> None:
    settings(root, secure[0].host, "http = false", "insecure = true")

    push(root, secure[0].host, "anyone")


def test_trust_by_an_output_counts_where_parts_are_joined(
    root: Person, secure: tuple[RealRegistry, Path]
) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    nodes = {each: person(root.user, root.home / each) for each in ("amd64", "arm64")}
    output = f"-o=type=registry,name={secure[0].host}/joined/app,registry.insecure=true"
    with daemon(nodes["amd64"]) as one, daemon(nodes["arm64"]) as two:
        create = ("create", "--driver=remote", "--name=far")
        root.run(*create, "--platform=linux/amd64", f"unix://{one}").check()
        root.run(*create, "--append", "--platform=linux/arm64", f"unix://{two}").check()

        root.run(
            "build", "--builder=far", "--platform=linux/amd64,linux/arm64", output, "."
        ).check()

    place = ("--raw", "--tls-verify=false", f"docker://{secure[0].host}/joined/app")
    found = json.loads(root.run_other("skopeo", "inspect", *place).check().out)
    assert [each["platform"]["architecture"] for each in found["manifests"]] == ["amd64", "arm64"]


def test_layers_are_fetched_side_by_side(root: Person, programmed: Registry) -> None:
    other = tar_of([("other", {}, b"2")])
    packed = gzip.compress(other)

    def add(manifest: dict[str, object], config: dict[str, object]) -> None:
        layers, rootfs = manifest["layers"], config["rootfs"]
        assert isinstance(layers, list)
        assert isinstance(rootfs, dict)
        layers.append({"mediaType": LAYER, "digest": digest_of(packed), "size": len(packed)})
        rootfs["diff_ids"].append(digest_of(other))

    first = plant_image(programmed, "app", tar_of([("file", {}, b"1")]), add)
    programmed.blobs["app", digest_of(packed)] = packed
    root.write("Dockerfile", f"FROM {programmed.host}/app\nCOPY Dockerfile /\n")
    meeting = threading.Barrier(2, timeout=30)
    programmed.meetings = {first: meeting, digest_of(packed): meeting}

    root.run("build", "-o", "out", ".").check()

    assert {path.name for path in (root.work / "out").iterdir()} == {"file", "other", "Dockerfile"}
