"""Care of a data folder from outside of the service: backups, checks and repairs."""
