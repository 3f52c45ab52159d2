"""What one would take instead: programs on other people's frameworks, with the same calls and the same verdicts."""
