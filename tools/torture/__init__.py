"""Kills, full disks, crowds, clocks that jump and files that change, until something is lost."""
