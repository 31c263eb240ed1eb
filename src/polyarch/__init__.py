"""Build container images for many CPU architectures, on one machine, without root or a daemon.

The path of a build, in the order of the packages that carry it::

    text --parse--> Dockerfile --lower--> Graph --solve--> layers --assemble--> Image
                                                                                  |
                registry <--push-- ImageIndex <--image_index-- one Image per platform

`polyarch.build.build` states it in full and is the way in for programs.
"""

__version__ = "0.1.0"
