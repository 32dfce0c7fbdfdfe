module github.com/headwater/headwater/benchmarks/fronts/go

go 1.26.0

require (
	github.com/headwater/headwater/benchmarks/relay/go v0.0.0
	github.com/headwater/headwater/clients/go v0.0.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20261026165753-2ffab32bce7e // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261026165753-2ffab32bce7e // indirect
)

replace (
	github.com/headwater/headwater/benchmarks/relay/go => ../../relay/go
	github.com/headwater/headwater/clients/go => ../../../clients/go
)
