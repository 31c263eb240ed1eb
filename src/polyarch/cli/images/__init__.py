"""Commands on images and registries: listed, moved, run, signed in."""
