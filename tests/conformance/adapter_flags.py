"""What the tables ask of flags and units, in the words of polyarch."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polyarch.cli.building import values as flags
from polyarch.golang import units
from polyarch.golang.csv import csv_fields
from polyarch.images.annotation import Annotation
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import parse as parse_platform

output_flag = flags.output_flag
cache_flag = flags.cache_flag
secret_flag = flags.secret_flag
ssh_flag = flags.ssh_flag
attest_flag = flags.attest_flag
attest_shorthand = flags.attest_shorthand
ulimit_flag = flags.ulimit_flag
size_flag = flags.size_flag
resource_flag = flags.resource_flag
allow_flag = flags.allow_flag
add_host_flag = flags.add_host_flag
call_flag = flags.call_flag
decimal_size = units.human_size
binary_size = units.bytes_size
progress_size = units.progress_size
rough_duration = units.human_duration

__all__ = [
    "add_host_flag",
    "allow_flag",
    "annotation_flag",
    "attest_flag",
    "attest_shorthand",
    "binary_size",
    "build_context_flag",
    "cache_flag",
    "call_flag",
    "csv_fields",
    "decimal_size",
    "output_flag",
    "progress_size",
    "resource_flag",
    "rough_duration",
    "secret_flag",
    "size_flag",
    "ssh_flag",
    "ulimit_flag",
]


def annotation_flag(values: list[str]) -> list[Annotation]:
    """`--annotation`, sorted as the table has it."""
    found = flags.annotation_flag(values, parse_platform=parse_platform)
    return sorted(found, key=lambda a: json.dumps([a.key, a.type, a.platform, a.value]))


def build_context_flag(values: list[str]) -> Mapping[str, str]:
    """`--build-context`."""
    return flags.build_context_flag(values, familiar=lambda text: parse_reference(text).familiar)
