"""Keys and certificates. Works without the native core."""
