"""The assistant service: one stream of events, whatever model does the work."""
