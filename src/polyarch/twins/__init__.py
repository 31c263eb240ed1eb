"""Native twins: programs whose work doesn't depend on the CPU run natively in emulated steps. See docs/twins.md."""
