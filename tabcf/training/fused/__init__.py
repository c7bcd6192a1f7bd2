"""Steps of a dot product of two ids, with the backward pass written by hand."""
