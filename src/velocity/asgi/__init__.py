"""Python applications in this process: import string, interface, lifespan, the bridge to the core."""
