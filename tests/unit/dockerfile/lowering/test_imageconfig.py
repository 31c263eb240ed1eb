from polyarch.dockerfile.lowering.imageconfig import set_platform, with_target, written
from polyarch.platforms import Platform

AMD64 = Platform(os="linux", architecture="amd64")


def test_what_another_builder_noted_is_left_out() -> None:
    config: dict[str, object] = {
        "architecture": "amd64",
        "os": "linux",
        "author": "me",
        "docker_version": "1.0",
        "container_config": {"Cmd": ["x"]},
        "moby.buildkit.cache.v0": "e30=",
        "config": {"Hostname": "abc", "Image": "sha256:0", "Cmd": ["sh"], "StopTimeout": 3},
    }
    assert written(config) == {
        "architecture": "amd64",
        "os": "linux",
        "author": "me",
        "config": {"Cmd": ["sh"]},
    }


def test_what_says_nothing_is_left_out() -> None:
    run: dict[str, object] = {
        "Cmd": [],
        "Env": None,
        "User": "",
        "Volumes": {},
        "ArgsEscaped": False,
        "Labels": {},
    }
    config: dict[str, object] = {
        "architecture": "amd64",
        "os": "linux",
        "author": "",
        "config": run,
    }
    assert written(config) == {"architecture": "amd64", "os": "linux", "config": {}}
    assert written({"config": None}) == {"config": {}}


def test_an_empty_health_check_stays() -> None:
    assert written({"config": {"Healthcheck": {"Test": [], "Other": 1}}}) == {
        "config": {"Healthcheck": {}}
    }
    assert written({"config": {"Healthcheck": {"Test": ["NONE"], "Retries": 0}}}) == {
        "config": {"Healthcheck": {"Test": ["NONE"]}}
    }


def test_the_target_goes_before_the_base() -> None:
    config: dict[str, object] = {"os": "windows", "architecture": "arm64", "os.version": "10"}
    with_target(config, AMD64)
    assert config == {"os": "linux", "architecture": "amd64"}


def test_what_the_target_leaves_open_stays() -> None:
    config: dict[str, object] = {"os": "linux", "architecture": "amd64", "variant": "v2"}
    with_target(config, AMD64)
    assert config == {"os": "linux", "architecture": "amd64", "variant": "v2"}


def test_the_platform_of_a_base_is_normalized() -> None:
    config: dict[str, object] = {"os": "linux", "architecture": "aarch64", "variant": "v8"}
    with_target(config, None)
    assert config == {"os": "linux", "architecture": "arm64"}


def test_set_platform_leaves_nothing_of_the_one_before() -> None:
    config: dict[str, object] = {"os.version": "10", "os.features": ["a"], "variant": "v7"}
    set_platform(config, Platform(os="linux", architecture="arm", os_features=("b",)))
    assert config == {"os": "linux", "architecture": "arm", "os.features": ["b"]}
