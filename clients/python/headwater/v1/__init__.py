"""The wire: protobuf messages and gRPC stubs of package `headwater.v1`, generated from `protos/`."""
