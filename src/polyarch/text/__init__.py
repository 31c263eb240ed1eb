"""Texts as Go reads and writes them: quoting, numbers, CSV, patterns, ignore files."""
