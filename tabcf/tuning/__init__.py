"""A search for the settings that validate best; knows specs and runs, and no command line."""
