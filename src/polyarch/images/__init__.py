"""Images as wholes: where they are, and the one way in which they get from one place to another."""
