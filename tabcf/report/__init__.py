"""One HTML page that says what a run is, what it is worth, and why it answers as it does."""
