"""Texts that users and tools write: patterns and ignore files, file modes, owners, addresses of repositories."""
