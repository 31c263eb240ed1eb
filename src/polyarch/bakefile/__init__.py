"""Bake: many builds from one definition, as docker buildx bake reads it."""
