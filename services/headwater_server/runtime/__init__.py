"""What the services run on: settings, logging, the gRPC server, errors as statuses.

Nothing outside this room knows gRPC.
"""
