"""Parts of the day and the year; all of it is in plugin.yaml."""
