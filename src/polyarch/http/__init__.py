"""HTTP/1.1: connections, redirects and retries, for any request to another machine."""
