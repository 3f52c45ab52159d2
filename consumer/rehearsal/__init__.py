"""A user's configuration tried out on one machine: cases that stand beside it, one event explained, a quick measure."""
