"""What users did before; all of it is in plugin.yaml."""
