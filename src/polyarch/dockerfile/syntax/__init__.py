"""The language: from lines of text to typed instructions, nothing of them expanded."""
