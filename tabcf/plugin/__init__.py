"""Hooks, loading and names: what built-ins and plugins add, and how a spec finds it."""
