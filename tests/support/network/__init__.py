"""Servers on the loopback interface: real ones, and ones that answer as a test says."""
