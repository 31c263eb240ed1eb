"""Builders in files: what was saved is found, by us and by docker buildx's rules."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.builders.saved import SavedBuilders, docker_endpoint
from polyarch.builders.values import BuilderNode, SavedBuilder, default_builder
from polyarch.errors import InputError, IntegrityError, MachineError, NotFound
from polyarch.platforms import Platform, linux
from polyarch.request.ref import local_state
from polyarch.request.values import BuildRequest

TEXT = st.text("abc-=.,é ", max_size=6)
NAMES = st.text("abc-", min_size=1, max_size=6).map(lambda text: f"n{text}")
MAPS = st.dictionaries(TEXT, TEXT, max_size=2)
PLATFORMS = st.builds(
    Platform,
    os=st.sampled_from(["linux", "windows"]),
    architecture=st.sampled_from(["amd64", "arm"]),
    variant=st.sampled_from(["", "v7"]),
    os_version=st.sampled_from(["", "10.0.1"]),
    os_features=st.sampled_from([(), ("win32k",)]),
)
NODES = st.builds(
    BuilderNode,
    name=NAMES,
    endpoint=TEXT,
    platforms=st.lists(PLATFORMS, max_size=2).map(tuple),
    driver_opts=MAPS,
    flags=st.lists(TEXT, max_size=2).map(tuple),
    files=st.dictionaries(
        TEXT, st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode()), max_size=2
    ),
)
BUILDERS = st.builds(
    SavedBuilder,
    name=NAMES,
    driver=st.sampled_from(["polyarch", "docker-container"]),
    nodes=st.lists(NODES, max_size=3).map(tuple),
    dynamic=st.booleans(),
)


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


@pytest.fixture
def saved(tmp_path: Path) -> SavedBuilders:
    return SavedBuilders(environment(tmp_path))


def write(directory: Path, name: str, **fields: object) -> Path:
    """Write a builder as docker buildx does."""
    path = directory / "instances" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Name": name, "Driver": "cloud", **fields}))
    return path


@given(builder=BUILDERS)
@settings(deadline=None, max_examples=40)
def test_what_was_saved_is_read_back(builder: SavedBuilder) -> None:
    with tempfile.TemporaryDirectory() as home:
        SavedBuilders(environment(Path(home))).save(builder)
        saved = SavedBuilders(environment(Path(home)))

        assert saved.find(builder.name) == builder
        assert saved.all() == tuple(
            sorted((builder, default_builder()), key=lambda each: each.name)
        )


def test_the_files_are_those_of_buildx(saved: SavedBuilders) -> None:
    node = BuilderNode(name="b0", platforms=(linux("arm64"),))

    saved.save(SavedBuilder(name="b", nodes=(node,)))

    path = saved.directory / "instances/b"
    assert json.loads(path.read_bytes()) == {
        "Name": "b",
        "Driver": "polyarch",
        "Nodes": [
            {
                "Name": "b0",
                "Endpoint": "local",
                "Platforms": [{"architecture": "arm64", "os": "linux"}],
                "DriverOpts": None,
                "Flags": None,
                "Files": None,
            }
        ],
        "Dynamic": False,
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert saved.directory.stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_by_reading(saved: SavedBuilders, tmp_path: Path) -> None:
    found = (saved.all(), saved.current(), saved.find("none"), saved.get("default"))

    assert found == ((default_builder(),), default_builder(), None, default_builder())
    assert os.listdir(tmp_path) == []


def test_builders_of_buildx_are_seen_and_left_alone(saved: SavedBuilders, tmp_path: Path) -> None:
    path = write(tmp_path / ".docker/buildx", "theirs")
    before = path.read_bytes()
    theirs = saved.get("THEIRS")

    assert (theirs.is_foreign, theirs.driver) == (True, "cloud")
    for change in (saved.save, saved.remove):
        with pytest.raises(InputError, match=r'^builder "theirs" belongs to docker buildx$'):
            change(theirs)
    assert path.read_bytes() == before


def test_ours_stand_before_theirs(saved: SavedBuilders, tmp_path: Path) -> None:
    write(tmp_path / ".docker/buildx", "b")
    saved.save(SavedBuilder(name="b"))

    assert [each.driver for each in saved.all()] == ["polyarch", "polyarch"]
    assert not saved.get("b").is_foreign


def test_where_buildx_is_told_to_look_ours_lie_apart(tmp_path: Path) -> None:
    write(tmp_path / "x", "theirs")
    saved = SavedBuilders(environment(tmp_path, BUILDX_CONFIG=str(tmp_path / "x")))

    saved.save(SavedBuilder(name="b"))
    saved.use("b")

    assert saved.directory == tmp_path / "x/polyarch"
    assert [each.name for each in saved.all()] == ["b", "default", "theirs"]
    assert sorted(os.listdir(tmp_path / "x")) == ["instances", "polyarch"]
    assert os.listdir(tmp_path / "x/instances") == ["theirs"]


@pytest.fixture
def plugin(tmp_path: Path) -> SavedBuilders:
    """The builders of someone who has polyarch in the place of docker buildx."""
    return SavedBuilders(environment(tmp_path, POLYARCH_PLUGIN="buildx"))


def test_as_the_plugin_we_write_what_buildx_can_read(plugin: SavedBuilders, tmp_path: Path) -> None:
    node = BuilderNode(name="b0", driver_opts={"jobs": "2"}, flags=("--debug",))
    ours = SavedBuilder(name="b", nodes=(node,))

    plugin.save(ours)

    path = tmp_path / ".docker/buildx/instances/b"
    document = json.loads(path.read_bytes())
    assert document.pop("Polyarch")["Driver"] == "polyarch"
    assert (document["Name"], document["Driver"]) == ("b", "docker-container")
    (shown,) = document["Nodes"]
    assert (shown["Endpoint"], shown["DriverOpts"]) == ("unix:///var/run/docker.sock", None)
    assert (plugin.get("b"), plugin.get("b").is_foreign) == (ours, False)
    path.write_text(json.dumps(document))
    # What buildx has changed is its own, and its driver is known here as well.
    assert (plugin.get("b").driver, plugin.get("b").is_foreign) == ("docker-container", False)


def test_what_either_way_of_calling_made_both_see_and_remove(
    saved: SavedBuilders, plugin: SavedBuilders
) -> None:
    saved.save(SavedBuilder(name="a"))
    plugin.save(SavedBuilder(name="b"))

    assert [each.name for each in saved.all()] == [each.name for each in plugin.all()]
    with plugin.change():
        plugin.remove(plugin.get("a"))
    with saved.change():
        saved.remove(saved.get("b"))
    assert saved.all() == plugin.all() == (default_builder(),)


@pytest.mark.parametrize("name", ["none", "../instances/b", "b/../b", "."])
def test_names_that_nobody_has(saved: SavedBuilders, name: str) -> None:
    saved.save(SavedBuilder(name="b"))

    with pytest.raises(NotFound) as caught:
        saved.get(name)

    assert str(caught.value) == f'no builder "{name}" found'


@pytest.mark.parametrize("driver", ["remote", "docker-container"])
def test_what_buildx_can_use_lies_among_its_own(
    saved: SavedBuilders, tmp_path: Path, driver: str
) -> None:
    far = BuilderNode(name="b0", endpoint="tcp://far:1")
    there, here = tmp_path / ".docker/buildx/instances/b", saved.directory / "instances/b"

    saved.save(SavedBuilder(name="b", driver=driver, nodes=(far,)))
    first = (there.exists(), here.exists(), saved.get("b").is_foreign)
    saved.save(SavedBuilder(name="b", driver=driver, nodes=(far, BuilderNode(name="b1"))))
    second = (there.exists(), here.exists())
    saved.remove(saved.get("b"))

    assert (first, second) == ((True, False, False), (False, True))
    assert not there.exists()
    assert not here.exists()


def test_contexts_of_docker_are_builders(saved: SavedBuilders, tmp_path: Path) -> None:
    for name in ("far", "default", "taken"):
        meta = tmp_path / f".docker/contexts/meta/{name}/meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"Name": name, "Endpoints": {}}))
    (tmp_path / ".docker/contexts/meta/torn").mkdir()
    (tmp_path / ".docker/contexts/meta/torn/meta.json").write_text("{")
    saved.save(SavedBuilder(name="taken"))

    found = {each.name: (each.driver, each.is_context) for each in saved.all()}

    assert found == {
        "default": ("polyarch", False),
        "far": ("docker", True),
        "taken": ("polyarch", False),
    }
    assert saved.get("far").nodes == (BuilderNode(name="far", endpoint="far"),)


# The current builder


def test_the_chosen_builder_is_used(saved: SavedBuilders) -> None:
    for name in ("a", "b"):
        saved.save(SavedBuilder(name=name))
    saved.use("a")
    chosen = [saved.current().name]
    saved.use("default")
    chosen.append(saved.current().name)
    saved.use("b")
    chosen.append(saved.get("").name)

    assert chosen == ["a", "default", "b"]


def test_a_choice_holds_at_its_endpoint_unless_it_is_global(tmp_path: Path) -> None:
    here = SavedBuilders(environment(tmp_path))
    there = SavedBuilders(environment(tmp_path, DOCKER_HOST="tcp://there"))
    here.save(SavedBuilder(name="b"))

    here.use("b")
    first = (here.current().name, there.current().name)
    here.use("b", is_global=True)
    second = (here.current().name, there.current().name)

    assert (first, second) == (("b", "default"), ("b", "b"))


def test_the_default_of_an_endpoint_stays_when_the_choice_is_gone(saved: SavedBuilders) -> None:
    for name in ("a", "b"):
        saved.save(SavedBuilder(name=name))
    saved.use("a", is_default=True)
    (saved.directory / "current").unlink()
    first = saved.current().name
    saved.remove(saved.get("a"))

    assert (first, saved.current().name) == ("a", "default")


def test_a_plain_choice_forgets_the_default(saved: SavedBuilders) -> None:
    for name in ("a", "b"):
        saved.save(SavedBuilder(name=name))
    saved.use("a", is_default=True)
    saved.use("b")
    saved.remove(saved.get("b"))

    assert saved.current().name == "default"


def test_who_chose_nothing_here_has_what_they_chose_with_buildx(
    saved: SavedBuilders, tmp_path: Path
) -> None:
    theirs = tmp_path / ".docker/buildx"
    write(theirs, "theirs")
    (theirs / "current").write_text(json.dumps({"Name": "theirs", "Global": True}))
    first = saved.current().name
    saved.use("default")

    assert (first, saved.current().name) == ("theirs", "default")


def test_a_builder_of_the_environment_is_meant_where_none_is_named(tmp_path: Path) -> None:
    SavedBuilders(environment(tmp_path)).save(SavedBuilder(name="b"))
    saved = SavedBuilders(environment(tmp_path, BUILDX_BUILDER="b"))

    assert (saved.get("").name, saved.get("default").name) == ("b", "default")
    with pytest.raises(NotFound, match=r'^no builder "gone" found$'):
        SavedBuilders(environment(tmp_path, BUILDX_BUILDER="gone")).get("")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Name": 3}', '{"Global": true}'])
def test_a_damaged_choice_is_none(saved: SavedBuilders, text: str) -> None:
    saved.save(SavedBuilder(name="b"))
    (saved.directory / "current").write_text(text)

    assert saved.current() == default_builder()


@pytest.mark.parametrize(
    ("environ", "config", "endpoint"),
    [
        ({}, None, "unix:///var/run/docker.sock"),
        ({"DOCKER_HOST": "tcp://a"}, None, "tcp://a"),
        ({"DOCKER_CONTEXT": "remote", "DOCKER_HOST": "tcp://a"}, None, "remote"),
        ({"DOCKER_CONTEXT": "default", "DOCKER_HOST": "tcp://a"}, None, "tcp://a"),
        ({}, '{"currentContext": "remote"}', "remote"),
        ({"DOCKER_HOST": "tcp://a"}, '{"currentContext": "remote"}', "tcp://a"),
        ({}, "{", "unix:///var/run/docker.sock"),
    ],
)
def test_endpoints_as_docker_has_them(
    tmp_path: Path, environ: dict[str, str], config: str | None, endpoint: str
) -> None:
    if config is not None:
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(config)

    assert docker_endpoint(environment(tmp_path, **environ)) == endpoint


# Damage and change


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Name": 3}', '{"Nodes": [1]}'])
def test_a_damaged_builder_is_named(saved: SavedBuilders, text: str) -> None:
    saved.save(SavedBuilder(name="b"))
    path = saved.directory / "instances/b"
    path.write_text(text)

    with pytest.raises(IntegrityError) as caught:
        saved.find("b")

    assert str(caught.value).startswith(f"{path} isn't a builder: ")
    assert caught.value.hint == f"remove it with rm {path}"


def test_use_is_remembered(saved: SavedBuilders) -> None:
    saved.save(SavedBuilder(name="b"))
    before = saved.get("b").last_activity

    saved.touch("b")

    assert before == ""
    assert len(saved.get("b").last_activity) == len("2020-01-01T00:00:00Z")
    saved.remove(saved.get("b"))
    saved.save(SavedBuilder(name="b"))
    assert saved.get("b").last_activity == ""


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    saved = SavedBuilders(environment(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "file")))

    saved.touch("b")
    with pytest.raises(MachineError, match=r"^can't write .*: Not a directory$"):
        saved.save(SavedBuilder(name="b"))
    with pytest.raises(MachineError, match=r"^can't write .*: Not a directory$"), saved.change():
        pass
    assert saved.all() == (default_builder(),)


def test_changes_wait_for_one_another(tmp_path: Path) -> None:
    def count() -> None:
        saved = SavedBuilders(environment(tmp_path))
        for _ in range(10):
            with saved.change():
                builder = saved.find("b") or SavedBuilder(name="b")
                nodes = (*builder.nodes, BuilderNode(name=f"n{len(builder.nodes)}"))
                saved.save(SavedBuilder(name="b", nodes=nodes))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(SavedBuilders(environment(tmp_path)).get("b").nodes) == 40


@pytest.mark.root
def test_under_sudo_the_files_are_the_users(tmp_path: Path) -> None:
    saved = SavedBuilders(environment(tmp_path, SUDO_UID="1234", SUDO_GID="2345"))

    with saved.change():
        saved.save(SavedBuilder(name="b"))
        saved.use("b")

    owners = {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
    assert owners == {(1234, 2345)}


@pytest.mark.parametrize("uid", ["", "root", "-1", "²"])
def test_what_sudo_never_says_is_not_believed(tmp_path: Path, uid: str) -> None:
    saved = SavedBuilders(environment(tmp_path, SUDO_UID=uid, SUDO_GID="1"))

    saved.save(SavedBuilder(name="b"))

    assert (saved.directory / "instances/b").stat().st_uid == os.geteuid()


# --- what builds were of ---

GIT = "https://git.example/app.git#main"


@pytest.mark.parametrize(
    ("context", "dockerfile", "kept"),
    [
        (".", "", '"LocalPath":"/","DockerfilePath":""'),
        ("etc/", "etc/D", '"LocalPath":"/etc","DockerfilePath":"/etc/D"'),
        ("etc", "-", '"LocalPath":"/etc","DockerfilePath":"-"'),
        ("-", "", '"LocalPath":"-","DockerfilePath":""'),
        ("-", "D", '"LocalPath":"-","DockerfilePath":"D"'),
        (GIT, "sub/D", f'"LocalPath":"{GIT}","DockerfilePath":"sub/D"'),
        ("a<b", "", '"LocalPath":"/a\\u003cb","DockerfilePath":""'),
    ],
)
def test_what_a_build_is_of_is_kept_as_buildx_keeps_it(
    saved: SavedBuilders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    context: str,
    dockerfile: str,
    kept: str,
) -> None:
    monkeypatch.chdir("/")

    saved.note_build(
        "default/default0/abc", local_state(BuildRequest(context=context, dockerfile=dockerfile))
    )

    path = tmp_path / ".docker/buildx/refs/default/default0/abc"
    assert path.read_text() == '{"Target":"default",' + kept + "}"
    modes = [each.stat().st_mode & 0o777 for each in (path, *path.parents[:3])]
    assert modes == [0o644, 0o700, 0o700, 0o700]


def test_builds_of_a_builder_are_forgotten_with_it(saved: SavedBuilders, tmp_path: Path) -> None:
    builder = SavedBuilder(name="mine", driver="polyarch", nodes=(), dynamic=False)
    saved.save(builder)
    saved.note_build("mine/mine0/abc", {"Target": "default"})
    saved.note_build("default/default/abc", {"Target": "default"})

    saved.remove(builder)

    assert os.listdir(tmp_path / ".docker/buildx/refs") == ["default"]


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_name_that_leads_elsewhere_is_not_noted(
    saved: SavedBuilders, tmp_path: Path, name: str
) -> None:
    saved.note_build(f"default/{name}/abc", {"Target": "default"})

    assert not (tmp_path / ".docker/buildx/refs").exists()


def test_a_directory_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    saved = SavedBuilders(environment(tmp_path, BUILDX_CONFIG=str(tmp_path / "file")))

    saved.note_build("default/default/abc", {"Target": "default"})

    assert os.listdir(tmp_path) == ["file"]
