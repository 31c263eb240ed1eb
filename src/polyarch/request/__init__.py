"""What a build is asked for and what came of it, as values; the rules that all callers share."""
