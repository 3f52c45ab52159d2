"""Calls on their way: transport, quota, retries, holds and what they are counted as."""
