"""Signatures of images: made by keys or by identities, stored as cosign stores them, found again and checked."""
