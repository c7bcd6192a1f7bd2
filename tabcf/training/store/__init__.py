"""Updates of the rows that a step used, in tables of many rows."""
