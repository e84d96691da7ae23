"""The client: what to try, in which order, and what to make of the answers. Bytes move in the core."""
