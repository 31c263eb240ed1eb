"""What builds on this machine: store, snapshots, solver, worker and registries, put together once."""
