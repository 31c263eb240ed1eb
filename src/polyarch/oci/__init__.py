"""The documents of the OCI image spec."""
