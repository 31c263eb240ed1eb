"""What is said of a build's result: its provenance, the software in it, and signatures."""
