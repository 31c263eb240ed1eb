"""Compose files as definitions of bake: their services' `build` sections."""
