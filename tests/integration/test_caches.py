"""Caches that a build leaves at a registry, in a directory or in its image: another machine finds all steps there."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user, for_users_each_with
from tests.support.network.azure import ACCOUNT, KEY, azure
from tests.support.network.github import TOKEN, github
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

# A large file goes from stage to stage: it is in no key, but compared.
DOCKERFILE = """\
FROM {base} AS made
WORKDIR /made
RUN head -c 100000 /dev/zero > large && echo small > small
COPY input .
FROM {base}
RUN echo first > /first
COPY --from=made /made /made
RUN ln -s /first /second && mkdir /empty
ENV A=1
RUN --mount=type=bind,from=made,source=/made,target=/m cp /m/small /third
"""
STEPS = 7
PLATFORM = "linux/amd64"
CACHED = re.compile(r"^#\d+ CACHED$", re.MULTILINE)


def write(who: Person, registry: RealRegistry) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    who.write("input", "input\n")


def build(who: Person, *words: str, platform: str = PLATFORM) -> tuple[str, str]:
    """Build; return the image's digest and what was shown."""
    ended = who.run(
        "build", f"--platform={platform}", "--progress=plain", "--metadata-file=told", *words, "."
    ).check()
    told = json.loads((who.work / "told").read_text())
    return told.get("containerimage.digest", ""), ended.err


def forget(who: Person) -> None:
    """Make the machine another one: without a store."""
    shutil.rmtree(who.root)


def ran(shown: str) -> list[str]:
    """Return the steps that weren't cached."""
    steps = dict(re.findall(r"^#(\d+) \[(?:linux/\S+ )?(.+\d/\d\].*)$", shown, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED$", shown, re.MULTILINE))
    return [name for number, name in steps.items() if number not in cached and "FROM" not in name]


def ways(kind: str, who: Person, registry: RealRegistry, name: str) -> tuple[str, str]:
    if kind == "local":
        directory = who.work / "cache"
        return f"type=local,dest={directory},mode=max", f"type=local,src={directory}"
    reference = f"{registry.host}/caches/{name}:{kind}"
    forms = {"index": ",image-manifest=false", "docker": ",oci-mediatypes=false"}
    form = forms.get(kind, "")
    return f"type=registry,ref={reference},mode=max{form}", reference


@for_users_each_with("kind", "local", "registry", "index", "docker")
def test_a_machine_without_a_store_finds_all_steps(
    who: Person, registry: RealRegistry, kind: str
) -> None:
    write(who, registry)
    to, of = ways(kind, who, registry, who.user.name)
    pushed = f"{registry.host}/images/{who.user.name}:{kind}"
    first, shown = build(who, "--cache-to", to, "-t", pushed, "--push")
    assert len(ran(shown)) == STEPS
    assert "exporting cache to" in shown

    forget(who)
    again, shown = build(who, "--cache-from", of, "-t", pushed, "--push")

    assert ran(shown) == []
    assert "importing cache manifest from" in shown
    # The image is of the very same layers, and nothing of them had to come here.
    assert again == first
    assert not list((who.root / "snapshots").iterdir())


@for_one_user
def test_the_layers_of_a_cache_are_used_by_steps_above(who: Person, registry: RealRegistry) -> None:
    write(who, registry)
    to, of = ways("registry", who, registry, f"{who.user.name}-above")
    build(who, "--cache-to", to)
    forget(who)
    who.write(
        "Dockerfile", (who.work / "Dockerfile").read_text() + "RUN cat /first /third > /all\n"
    )

    _, shown = build(who, "--cache-from", of, "-o", "type=local,dest=out")

    assert [name.partition("] ")[2] for name in ran(shown)] == ["RUN cat /first /third > /all"]
    assert (who.work / "out/all").read_text() == "first\nsmall\n"
    assert (who.work / "out/made/large").stat().st_size == 100_000


@for_one_user
def test_a_large_file_that_is_the_same_is_found_by_comparing(
    who: Person, registry: RealRegistry
) -> None:
    write(who, registry)
    to, of = ways("registry", who, registry, f"{who.user.name}-compared")
    build(who, "--cache-to", to)
    forget(who)
    text = (who.work / "Dockerfile").read_text()
    who.write("Dockerfile", text.replace("WORKDIR /made\n", "WORKDIR /made\nENV NEW=1\n"))

    _, shown = build(who, "--cache-from", of)

    # What the changed stage makes again is the same, so whatever copies it is found.
    assert [name.partition("] ")[2][:8] for name in ran(shown)] == ["RUN head", "COPY inp"]


@for_one_user
def test_the_cache_in_an_image(who: Person, registry: RealRegistry) -> None:
    write(who, registry)
    name = f"{registry.host}/images/{who.user.name}:inline"
    output = f"--output=type=image,name={name},push=true,rewrite-timestamp=true"
    words = (output, "--build-arg=SOURCE_DATE_EPOCH=1700000000")
    first, _ = build(who, "--cache-to=type=inline", *words)
    forget(who)
    without, _ = build(who, *words)
    forget(who)
    second, _ = build(who, "--build-arg=BUILDKIT_INLINE_CACHE=1", *words)
    assert second == first != without
    forget(who)

    again, shown = build(who, "--cache-from", name, "--cache-to=type=inline", *words)

    assert ran(shown) == []
    assert again == first


@for_one_user
@pytest.mark.parametrize("kind", ["local", "registry"])
def test_times_are_cut_off_in_layers_that_came_with_a_cache(
    who: Person, registry: RealRegistry, kind: str
) -> None:
    write(who, registry)
    to, of = ways(kind, who, registry, f"{who.user.name}-times")
    words = (
        "--output=type=image,name=app,rewrite-timestamp=true",
        "--build-arg=SOURCE_DATE_EPOCH=1700000000",
    )
    first, _ = build(who, "--cache-to", to, *words)
    forget(who)

    again, shown = build(who, "--cache-from", of, *words)

    assert ran(shown) == []
    assert again == first


@for_one_user
def test_the_cache_in_an_image_of_another_form_than_its_base(
    who: Person, registry: RealRegistry
) -> None:
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nWORKDIR /made\n")
    name = f"{registry.host}/images/{who.user.name}:form"
    output = f"type=image,name={name},push=true,compression=uncompressed,force-compression=true"

    build(who, "--cache-to=type=inline", f"--output={output}")
    forget(who)
    _, shown = build(who, "--cache-from", name, "--cache-to=type=inline", f"--output={output}")

    assert ran(shown) == []


@for_one_user
def test_min_has_the_layers_of_the_image_alone(who: Person, registry: RealRegistry) -> None:
    write(who, registry)
    directory = who.work / "cache"
    build(who, "--cache-to", f"type=local,dest={directory}")
    forget(who)

    _, shown = build(who, "--cache-from", f"type=local,src={directory}")

    assert ran(shown) == []
    manifest = json.loads(_blob(directory, json.loads((directory / "index.json").read_text())))
    # Of what is copied out of the other stage there is one layer, and none of that stage's own.
    assert len(manifest["layers"]) == 4


def _blob(directory: Path, index: dict[str, list[dict[str, str]]]) -> str:
    digest = index["manifests"][0]["digest"]
    return (directory / "blobs" / digest.replace(":", "/")).read_text()


def test_three_platforms_share_a_cache(root: Person, registry: RealRegistry) -> None:
    write(root, registry)
    to, of = ways("registry", root, registry, "three")
    platform = "linux/amd64,linux/arm64,linux/arm/v7"
    name = f"{registry.host}/images/three"
    first, _ = build(root, "--cache-to", to, "-t", name, "--push", platform=platform)
    forget(root)

    again, shown = build(root, "--cache-from", of, "-t", name, "--push", platform=platform)

    assert ran(shown) == []
    assert again == first


@for_one_user
def test_a_cache_that_fails_costs_a_line(who: Person, registry: RealRegistry) -> None:
    write(who, registry)
    gone, closed = f"{registry.host}/caches/gone", "127.0.0.1:1/caches/closed"
    to = f"type=registry,ref={closed}"

    _, shown = build(who, "--cache-from", gone, "--cache-from", closed, "--cache-to", to)

    assert len(ran(shown)) == STEPS
    assert shown.count("ERROR: ") == 3
    assert f"{gone}:latest: not found" in shown
    assert "Traceback" not in shown
    failed = who.run("build", "--cache-to", f"{to},ignore-error=false", ".")
    assert failed.status == 69  # nobody can be reached there


@for_one_user
def test_layers_that_a_cache_has_lost_are_made_again(who: Person, registry: RealRegistry) -> None:
    write(who, registry)
    to, of = ways("local", who, registry, "")
    build(who, "--cache-to", to)
    forget(who)
    blobs = who.work / "cache/blobs/sha256"
    index = json.loads((who.work / "cache/index.json").read_text())
    manifest = json.loads(_blob(who.work / "cache", index))
    for layer in manifest["layers"]:
        (blobs / layer["digest"].partition(":")[2]).unlink()

    build(who, "--cache-from", of, "-t", "again")

    assert (
        who.run("run", "--rm", "again", "cat", "/second", "/third").check().out == "first\nsmall\n"
    )


def test_a_cache_is_written_of_what_another_one_had(root: Person, registry: RealRegistry) -> None:
    """As CI jobs do that write a new directory each time; what the old one has lost is left out, and made anew."""
    write(root, registry)
    old, new = (root.work / name for name in ("old", "new"))
    first, _ = build(root, "--cache-to", f"type=local,dest={old},mode=max")
    forget(root)
    again, shown = build(
        root,
        *("--cache-from", f"type=local,src={old}"),
        *("--cache-to", f"type=local,dest={new},mode=max"),
    )
    assert (again, ran(shown)) == (first, [])
    assert "ERROR: " not in shown, shown
    forget(root)
    shutil.rmtree(old)

    again, shown = build(root, "--cache-from", f"type=local,src={new}")

    assert (again, ran(shown)) == (first, [])
    made = json.loads(_blob(new, json.loads((new / "index.json").read_text())))
    for layer in made["layers"]:
        (new / "blobs/sha256" / layer["digest"].partition(":")[2]).unlink()
    forget(root)
    to = f"type=local,dest={old},mode=max"
    _, shown = build(root, "--cache-from", f"type=local,src={new}", "--cache-to", to)
    assert "ERROR: " not in shown, shown


def damage_layers(cache: Path, last: int = 0) -> None:
    """Have zeros for the layers of a local cache: all, or the last ones."""
    index = json.loads((cache / "index.json").read_text())
    for layer in json.loads(_blob(cache, index))["layers"][-last:]:
        path = cache / "blobs/sha256" / layer["digest"].partition(":")[2]
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("way", ["tree", "image", "elsewhere"])
def test_layers_that_a_cache_has_other_bytes_for_are_made_again(
    root: Person, registry: RealRegistry, way: str
) -> None:
    """They are read by a step, by the export, or by a push: the build goes on in any case."""
    write(root, registry)
    to, of = ways("local", root, registry, "")
    build(root, "--cache-to", to)
    forget(root)
    damage_layers(root.work / "cache", last=2)

    outputs = {
        "tree": ("-o", "type=local,dest=out"),
        "image": ("-o", "type=oci,dest=out.tar"),
        "elsewhere": ("-t", f"{registry.host}/images/damaged", "--push"),
    }
    digest, shown = build(root, "--cache-from", of, *outputs[way])

    assert "importing layers from oci-layout://" in shown, shown
    assert "; the steps that it is of run again" in shown
    assert "Traceback" not in shown
    if way == "tree":
        assert (root.work / "out/third").read_text() == "small\n"
    else:
        assert digest


def test_builds_of_a_bake_go_on_without_a_damaged_layer(
    root: Person, registry: RealRegistry
) -> None:
    write(root, registry)
    to, of = ways("local", root, registry, "")
    build(root, "--cache-to", to)
    forget(root)
    damage_layers(root.work / "cache")
    target = {"cache-from": [of], "platforms": [PLATFORM]}
    targets = {name: {**target, "output": [f"type=local,dest={name}"]} for name in ("one", "two")}
    root.write("bake.json", json.dumps({"target": targets}))

    ended = root.run("bake", "-f", "bake.json", "--allow=fs=*", "--progress=plain", "one", "two")

    assert ended.check().err.count("importing layers from") > 0
    for name in targets:
        assert (root.work / name / "third").read_text() == "small\n"


@pytest.mark.parametrize("version", ["url", "url_v2"])
def test_the_cache_service_of_github(root: Person, registry: RealRegistry, version: str) -> None:
    write(root, registry)
    with github() as service:
        place = f"type=gha,{version}={service.address},token={TOKEN},scope=main"
        first, shown = build(root, "--cache-to", f"{place},mode=max")
        assert "exporting cache to GitHub Actions Cache" in shown
        kept = len(service.entries)
        build(root, "--cache-to", f"{place},mode=max")
        forget(root)

        again, more = build(root, "--cache-from", place, "-t", "again")

        assert (ran(more), again) == ([], first)
        shown_file = root.run("run", "--rm", "again", "cat", "/third").check().out
        assert shown_file == "small\n"
    # What is there isn't sent again: only the cache's name is new.
    assert len(service.entries) == kept + 1
    told = [authorization for _, path, authorization in service.log if "/storage/" in path]
    assert set(told) == {""}
    assert TOKEN not in shown + more


def test_a_cache_service_that_fails_costs_a_line(root: Person, registry: RealRegistry) -> None:
    write(root, registry)
    with github() as service:
        service.fails = True
        place = f"type=gha,url_v2={service.address},token={TOKEN}"
        _, shown = build(root, "--cache-from", place, "--cache-to", place)

    assert len(ran(shown)) == STEPS
    assert shown.count("ERROR: ") == 2, shown
    assert TOKEN not in shown


def steps(registry: RealRegistry, name: str) -> str:
    return f"type=steps,ref={registry.host}/caches/{name}-steps"


def used(who: Person) -> dict[str, int]:
    """Return what the caches of single steps were good for, as the metadata tell."""
    (told,) = json.loads((who.work / "told").read_text())["polyarch.caches"]
    return dict(told)


def test_single_steps_are_found_by_a_machine_without_a_store(
    who: Person, registry: RealRegistry
) -> None:
    write(who, registry)
    place = steps(registry, who.user.name)
    pushed = f"{registry.host}/images/{who.user.name}:steps"
    words = ("--cache-from", place, "--cache-to", place, "-t", pushed, "--push")
    first, shown = build(who, *words)
    assert len(ran(shown)) == STEPS
    assert used(who)["pushed"] == STEPS, shown
    build(who, *words)
    assert used(who)["pushed"] == 0

    forget(who)
    again, shown = build(who, *words)

    assert (ran(shown), again) == ([], first)
    assert used(who)["found"] == STEPS
    assert used(who)["pushed"] == 0
    assert not list((who.root / "snapshots").iterdir())


LARGE = """\
FROM {base} AS made
COPY large /large
RUN --mount=type=cache,target=/kept,mode=0750 test ! -e /kept/a || cp /kept/a /was; echo kept > /kept/a
FROM {base}
COPY --from=made /large /large
RUN --mount=type=cache,id=other,target=/kept echo other > /kept/a; head -c 3 /large > /start
"""


def test_a_large_layer_goes_in_pieces_and_caches_of_programs_come_along(
    root: Person, registry: RealRegistry
) -> None:
    base = f"{registry.host}/library/busybox"
    root.write("Dockerfile", LARGE.format(base=base))
    data = random.Random(1).randbytes(12 << 20)
    (root.work / "large").write_bytes(data)
    place = steps(registry, f"{root.user.name}-large")
    to = f"{place},cache-mounts=/kept=1mb;other=1"
    build(root, "--cache-from", place, "--cache-to", to, "-o", "type=cacheonly")
    sent = used(root)["pushed_bytes"]
    assert sent > 12 << 20
    forget(root)
    # A little of it is another: the file is longer, and a byte in its middle differs.
    data = b"new" + data[: 6 << 20] + b"!" + data[6 << 20 :]
    (root.work / "large").write_bytes(data)

    _, shown = build(root, "--cache-from", place, "--cache-to", to, "-o", "type=local,dest=out")

    assert used(root)["pushed_bytes"] < sent / 5, shown
    assert (root.work / "out/start").read_bytes() == b"new"
    assert "cache mount other has" in shown, shown
    forget(root)
    changed = (
        LARGE.format(base=base).replace("; echo kept", "; : ; echo kept").partition("FROM made")
    )
    root.write("Dockerfile", changed[0])
    _, shown = build(root, "--cache-from", place, "--target", "made", "-o", "type=local,dest=more")

    # The layer is put together again, and the step that mounts a cache finds in it what was there.
    assert [name.partition("] ")[2][:3] for name in ran(shown)] == ["RUN"]
    assert (root.work / "more/large").read_bytes() == data
    assert (root.work / "more/was").read_text() == "kept\n"
    # An image has it compressed, as if it had been made here.
    name = f"{registry.host}/images/large"
    build(root, "--target", "made", "-t", name, "--push")
    raw = json.loads(root.run("imagetools", "inspect", "--raw", name).check().out)
    assert [each["mediaType"].rpartition("+")[2] for each in raw["layers"]] == ["gzip"] * 3


REWRITTEN = """\
FROM {base} AS made
RUN mkdir -p /a/b && chmod 700 /a && head -c 6000000 /dev/zero > /a/b/large
FROM {base}
RUN mkdir -p /a/b && chmod 700 /a && echo x > /a/x
COPY --from=made /a/b /a/b
RUN rm /a/x && head -c 6000000 /dev/zero > /a/b/more
"""


@pytest.mark.parametrize("kind", ["steps", "registry", "inline"])
def test_what_a_cache_has_makes_the_same_image_of_any_form(
    root: Person, registry: RealRegistry, kind: str
) -> None:
    """Times are cut off in what came with a cache as in what steps made; archives are compressed without all below."""
    root.write("Dockerfile", REWRITTEN.format(base=f"{registry.host}/library/busybox"))
    name = f"{registry.host}/caches/forms"
    to, of = f"type={kind},ref={name}-{kind}", f"type={kind},ref={name}-{kind}"
    words: tuple[str, ...] = ("-o", "type=cacheonly")
    if kind == "inline":
        to, of, words = "type=inline", f"{name}-inline", ("-t", f"{name}-inline", "--push")
    epoch = replace(root, environ={**root.environ, "SOURCE_DATE_EPOCH": "1500000000"})
    build(epoch, *words, "--cache-to", f"{to},mode=max" if kind == "registry" else to)
    forms = ("", ",rewrite-timestamp=true", ",compression=estargz,force-compression=true")
    given = ("--provenance=false", "--cache-from", of)

    def made() -> list[str]:
        outputs = [f"type=oci,dest=out.tar{form}" for form in forms]
        return [build(epoch, *given, "-o", each)[0] for each in outputs]

    here = made()
    found = []
    for form in forms:
        forget(root)
        digest, shown = build(epoch, *given, "-o", f"type=oci,dest=out.tar{form}")
        found.append(digest)
        if kind != "inline":
            assert ran(shown) == []
        assert "ERROR: " not in shown, shown

    assert found == here


def test_shards_and_platforms_share_an_address_at_the_same_time(
    root: Person, registry: RealRegistry
) -> None:
    write(root, registry)
    place = steps(registry, "shards")
    shards = ("linux/amd64", "linux/arm64,linux/arm/v7")
    name = f"{registry.host}/images/shards"
    words = ("--cache-from", place, "--cache-to", place, "--progress=plain")
    started = [
        replace(root, environ={"POLYARCH_ROOT": str(root.home / shard.replace("/", "-"))}).start(
            "build", f"--platform={shard}", *words, "."
        )
        for shard in shards
    ]
    for each in started:
        error = each.communicate()[1]
        assert each.returncode == 0, error

    _, shown = build(
        root, *words, "-t", name, "--push", platform="linux/amd64,linux/arm64,linux/arm/v7"
    )

    assert ran(shown) == []
    assert used(root)["found"] == 3 * STEPS


def test_an_address_of_single_steps_that_refuses_or_hangs_costs_a_line(
    root: Person, registry: RealRegistry
) -> None:
    write(root, registry)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hangs = f"type=steps,ref=127.0.0.1:{silent.getsockname()[1]}/caches/hangs"
        refuses = "type=steps,ref=127.0.0.1:1/caches/refuses"
        words = [
            word
            for place in (hangs, refuses)
            for word in ("--cache-from", place, "--cache-to", place)
        ]
        _, shown = build(root, "--cache-budget=0.5", *words)

    assert len(ran(shown)) == STEPS
    assert shown.count("ERROR: ") == 4, shown
    assert "Traceback" not in shown
    failed = root.run("build", "--no-cache", "--cache-to", f"{refuses},ignore-error=false", ".")
    assert failed.status != 0


@contextmanager
def cloud(kind: str) -> Iterator[str]:
    """Give the entry of a cache in a cloud's store, with an address and a key of its own."""
    if kind == "azblob":
        with azure() as kept:
            yield f"type=azblob,account_url={kept.address},account_name={ACCOUNT},secret_access_key={KEY}"
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        request = urllib.request.Request(f"{address}/caches", method="PUT")
        urllib.request.urlopen(request).close()
        yield (
            f"type=s3,bucket=caches,region=us-east-1,endpoint_url={address},use_path_style=true,"
            "access_key_id=id,secret_access_key=a-secret-key"
        )
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["s3", "azblob"])
def test_a_cache_in_a_cloud(root: Person, registry: RealRegistry, kind: str) -> None:
    write(root, registry)
    platform = "linux/amd64,linux/arm64,linux/arm/v7"
    with cloud(kind) as place:
        first, shown = build(root, "--cache-to", f"{place},mode=max", platform=platform)
        forget(root)
        again, more = build(root, "--cache-from", place, "-t", "again", platform=platform)

        assert (ran(more), again) == ([], first)
        assert root.run("run", "--rm", "again", "cat", "/third").check().out == "small\n"
    assert "secret" not in shown + more
    assert KEY not in shown + more
