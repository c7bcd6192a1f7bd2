"""Composition: a spec becomes a run, and a run a folder."""
