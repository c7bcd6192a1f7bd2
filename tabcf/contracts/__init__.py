"""The records that rooms and plugins hand to one another; nothing here does work."""
