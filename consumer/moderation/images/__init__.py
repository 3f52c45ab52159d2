"""Images of this machine: read, checked, and put where the services can see them."""
