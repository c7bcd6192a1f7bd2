"""A model's lists in another order: more diverse, more like the user's past, less of a kind."""
