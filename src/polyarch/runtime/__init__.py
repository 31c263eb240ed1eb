"""A process in a rootfs."""
