"""Configuration: what people say, checked, and compiled into the Plan that the engine serves."""
