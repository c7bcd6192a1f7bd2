"""From files and frames to encoded tables, splits and batches."""
