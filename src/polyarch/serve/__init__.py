"""polyarch behind BuildKit's API: docker buildx, buildctl and all that speaks it build here without BuildKit.

`server` listens, `control` and `gateway` answer calls, `jobs` are the builds that go on. Whoever calls is asked over its
session (`sessions`) for what a build needs of its machine: `lending` has secrets, agents and credentials, `contexts` the
directories (`receiving`), `outputs` sends results back. What is asked for becomes a request in `attributes`.
"""
