"""The image config as it is written: the fields that the builder knows, those that say nothing left out.

A config of another builder may hold more: fields of containers, what it was built of, the cache that it
carries. None of that is true of an image that is made from it, so it isn't handed on; neither does
BuildKit, which reads and writes a config by its types.

Source: OCI image-spec v1.1, config.md; moby/docker-image-spec v1.3; BuildKit's `dockerfile2llb`.
"""

from __future__ import annotations

from polyarch.graph.op import JSONObject
from polyarch.platforms import Platform, normalize

__all__ = ["set_platform", "with_target", "written"]

_FIELDS = ("author", "architecture", "os", "os.version", "os.features", "variant", "config")
_RUN_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
    "StopSignal", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip
_CHECK_FIELDS = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def written(config: JSONObject) -> JSONObject:
    """Return a config with the known fields only, and of them those that say something."""
    run = _objects(config.get("config"))
    kept = _told(run, _RUN_FIELDS)
    if isinstance(run.get("Healthcheck"), dict):
        # It is there even if it is empty: then it stands for the default.
        kept["Healthcheck"] = _told(_objects(run["Healthcheck"]), _CHECK_FIELDS)
    return {**_told(config, _FIELDS), "config": kept}


def set_platform(config: JSONObject, platform: Platform) -> None:
    """Write a platform into a config."""
    config["os"], config["architecture"] = platform.os, platform.architecture
    parts = (
        ("variant", platform.variant),
        ("os.version", platform.os_version),
        ("os.features", list(platform.os_features)),
    )
    for key, value in parts:
        config.pop(key, None)
        if value:
            config[key] = value


def with_target(config: JSONObject, target: Platform | None) -> None:
    """Give a config the platform that was asked for; with None its own is normalized.

    What the target leaves open (a variant, a version) stays if system and architecture are those of
    the base: an image for `linux/amd64` that is made from one for `amd64/v2` needs v2.
    """
    own = Platform(
        os=_text(config, "os"),
        architecture=_text(config, "architecture"),
        variant=_text(config, "variant"),
        os_version=_text(config, "os.version"),
        os_features=_texts(config, "os.features"),
    )
    if target is None:
        set_platform(config, normalize(own))
        return
    is_same = (own.os, own.architecture) == (target.os, target.architecture)
    chosen = Platform(
        os=target.os,
        architecture=target.architecture,
        variant=target.variant or (own.variant if is_same else ""),
        os_version=target.os_version or (own.os_version if is_same else ""),
        os_features=target.os_features or own.os_features,
    )
    set_platform(config, normalize(chosen))


def _told(values: JSONObject, keys: tuple[str, ...]) -> JSONObject:
    return {key: values[key] for key in keys if values.get(key)}


def _objects(value: object) -> JSONObject:
    return dict(value) if isinstance(value, dict) else {}


def _text(config: JSONObject, key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _texts(config: JSONObject, key: str) -> tuple[str, ...]:
    value = config.get(key)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
