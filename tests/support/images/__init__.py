"""Images and trees: what builds start from, and what is found in what they made."""
