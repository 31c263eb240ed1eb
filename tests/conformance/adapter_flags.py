"""What the tables ask of flags and units, in the words of polyarch."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polyarch.cli.building import limits
from polyarch.cli.building import values as flags
from polyarch.golang import units
from polyarch.golang.csv import csv_fields
from polyarch.oci.reference import parse as parse_reference

output_flag = flags.output_flag
cache_flag = flags.cache_flag
secret_flag = flags.secret_flag
ssh_flag = flags.ssh_flag
attest_flag = flags.attest_flag
attest_shorthand = flags.attest_shorthand
ulimit_flag = limits.ulimit_flag
size_flag = limits.size_flag
resource_flag = limits.resource_flag
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


def annotation_flag(values: list[str]) -> list[dict[str, str | None]]:
    """`--annotation`, in the words of the table and sorted as it is."""
    found: list[dict[str, str | None]] = [
        {
            "type": each.level,
            "platform": None if each.platform is None else str(each.platform),
            "key": each.key,
            "value": each.value,
        }
        for each in flags.annotation_flag(values)
    ]
    order = ("key", "type", "platform", "value")
    return sorted(found, key=lambda each: json.dumps([each[name] for name in order]))


def build_context_flag(values: list[str]) -> Mapping[str, str]:
    """`--build-context`."""
    return flags.build_context_flag(values, familiar=lambda text: parse_reference(text).familiar)
