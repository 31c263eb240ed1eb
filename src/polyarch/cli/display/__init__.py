"""What a build shows while it runs; `display.open_display` is the entry."""
