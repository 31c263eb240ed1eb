"""What tests share, and `tools.fuzz` and `tools.torture` with them; fixtures are in `tests/conftest.py`.

`machine` has users, processes, namespaces and whole programs; `network` real and programmable servers;
`images` what is built from, exported and examined; `dockerfiles` strategies and second
implementations to compare with; `fakes` stand-ins for what is slow or needs root.
"""
