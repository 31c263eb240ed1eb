"""A network for steps in which they reach nothing but a proxy of ours, which tells what they fetched."""
