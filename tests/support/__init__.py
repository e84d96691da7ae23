"""Servers, sites, certificates and plain clients for tests that look at Velocity from outside."""
