"""Builds that stop before their steps: debug adapters of editors, and the monitor of `debug build`."""
