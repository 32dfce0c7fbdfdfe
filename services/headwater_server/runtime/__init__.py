"""What the services run on: settings, logging, the gRPC server, errors as statuses. The only room beside the servicers that knows gRPC."""
