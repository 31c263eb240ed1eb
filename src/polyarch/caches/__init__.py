"""Caches that builds bring along: results of steps at registries, in directories and in images."""
