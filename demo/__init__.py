"""The main job from a fresh machine to its end: `python -m demo`, or `make demo`."""
