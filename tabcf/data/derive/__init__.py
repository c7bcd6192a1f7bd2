"""How columns are derived from others: pure functions of series and arrays, a family a module."""
