"""What the user declares, read and checked; knows neither torch nor pandas."""
