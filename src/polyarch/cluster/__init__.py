"""Builds on a Dask cluster: a task for each platform, on a worker where it is native; parts are joined by digest."""
