"""Acme's forum: how its records are read, which of its posts are looked at twice, and what is done about them."""
