"""Programs that polyarch stands in for: `docker` on machines without Docker, and kaniko's executor.

They are scripts that start us with the variable `POLYARCH_STANDIN` (`cli.plugin` writes them). `docker` and `kaniko`
turn their words into commands of ours; what there is no such command for is refused by name.
"""
