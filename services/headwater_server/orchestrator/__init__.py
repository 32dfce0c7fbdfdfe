"""The orchestrator: retrieve, ask, relay."""
