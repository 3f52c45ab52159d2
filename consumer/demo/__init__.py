"""What shows the program at work on this machine: a broker, events, and a live view."""
