"""The server: a Plan goes to the native core, signals bring it down again."""
