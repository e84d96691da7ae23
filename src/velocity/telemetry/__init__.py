"""Telemetry: what the server says about itself."""
