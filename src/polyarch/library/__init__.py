"""polyarch for other programs: one engine in a process of its own, requests in and events out as values."""
