"""Steps in virtual machines: qemu-system, a kernel, and an init of our own that is driven from here."""
