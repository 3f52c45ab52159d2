"""Events → calls and results back to their events; pure plans here, windows that wait beside them."""
