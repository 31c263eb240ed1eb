"""Capabilities as names and bits: all that Linux has, and those that a step gets.

Source: capabilities(7), linux/capability.h; the default set is that of Docker and BuildKit.
"""

from __future__ import annotations

__all__ = ["CAPABILITIES", "DEFAULT_CAPABILITIES", "capability_names"]

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = _NAMES.split()
"""All capabilities, by number (linux/capability.h)."""

DEFAULT_CAPABILITIES = 0x00000000A80425FB
"""What a step gets unless it is `insecure`, as a bit set."""


def capability_names(bits: int) -> list[str]:
    """Return the names of a set of capabilities, by number."""
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
