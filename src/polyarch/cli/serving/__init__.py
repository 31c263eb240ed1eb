"""`serve` and `dial-stdio`: polyarch behind BuildKit's API."""
