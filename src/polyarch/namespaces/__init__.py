"""The namespaces that an engine lives in, and what was left behind in others."""
