"""reference, platforms: names of images and of what they run on."""

from __future__ import annotations

from polyarch import platforms
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform

Json = object


def reference(text: str) -> Json:
    parsed = parse_reference(text)
    return {
        "domain": parsed.domain,
        "path": parsed.path,
        "tag": parsed.tag,
        "digest": parsed.digest,
        "familiar": parsed.familiar,
        "familiar_name": parsed.familiar_name,
        "canonical": parsed.canonical,
    }


def platform_parse(text: str) -> Json:
    return platforms.parse(text)


def _platform(fields: dict[str, Json]) -> Platform:
    features = fields["os_features"]
    assert isinstance(features, list)
    return Platform(
        os=str(fields["os"]),
        architecture=str(fields["architecture"]),
        variant=str(fields["variant"]),
        os_version=str(fields["os_version"]),
        os_features=tuple(str(feature) for feature in features),
    )


def platform_normalize(platform: dict[str, Json]) -> Json:
    return platforms.normalize(_platform(platform))


def platform_format(platform: dict[str, Json]) -> Json:
    return platforms.format_all(_platform(platform))


def platform_select(wanted: str, candidates: list[str], strict: bool) -> Json:
    texts = {platforms.parse(text): text for text in candidates}
    chosen = platforms.select(platforms.parse(wanted), texts, strict=strict)
    return [texts[platform] for platform in chosen]


def platform_list(values: list[str]) -> Json:
    return [str(platform) for platform in platforms.parse_list(values)]


def platform_column(chosen: list[str], native: list[str]) -> Json:
    return platforms.column(map(platforms.parse, chosen), map(platforms.parse, native))
