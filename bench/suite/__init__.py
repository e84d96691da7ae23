"""The serve-and-fetch benches: what is measured, how it is run, and what it must reach."""
