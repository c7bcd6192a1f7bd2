"""Rows for users and items that came after training, found without training anew."""
