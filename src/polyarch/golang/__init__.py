"""What Go's standard library, and a few packages of docker's, do with text: each function once.

Docker, buildx and BuildKit are written in Go, so their idea of a blank, of a truth value, of a number, of a
quoted text and of a CSV line is Go's, and scripts search for its messages. Modules are named after Go's
packages, functions after Go's functions.
"""
