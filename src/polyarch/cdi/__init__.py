"""Devices of this machine that a step may be given, as the Container Device Interface describes them."""
