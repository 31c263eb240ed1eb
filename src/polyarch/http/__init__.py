"""HTTP/1.1 for whatever is asked of other machines; what they are asked for is no business of this room."""
