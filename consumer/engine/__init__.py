"""The way of one event: lanes, offsets, and the flow from a record to its acknowledged verdict."""
