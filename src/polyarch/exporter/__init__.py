"""From layers to an image index, and from there to wherever it shall go."""
