package main

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

// assistant is the model as the orchestrator asks it.
type assistant struct {
	headwaterv1.UnimplementedAssistantServiceServer
}

func registerHealth(server *grpc.Server) {
	serving := health.NewServer()
	serving.SetServingStatus(headwaterv1.AssistantService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(server, serving)
}

func (*assistant) GetAssistant(
	_ context.Context, request *headwaterv1.GetAssistantRequest,
) (*headwaterv1.Assistant, error) {
	return &headwaterv1.Assistant{Name: request.Name}, nil
}

func (*assistant) StreamGenerate(
	request *headwaterv1.StreamGenerateRequest, stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk],
) error {
	arrived := time.Now()
	name := strings.TrimPrefix(request.Assistant, "assistants/")
	_, model, _ := strings.Cut(name, "/")
	manner, err := parseModel(model)
	if err != nil {
		return status.Error(codes.NotFound, err.Error())
	}
	for number := range manner.count {
		if err := manner.wait(stream.Context(), arrived, number); err != nil {
			return err
		}
		text := &headwaterv1.TextDelta{Text: token.Of(number, time.Now()), OffsetBytes: int32(number * token.Size)}
		if err := stream.Send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Text{Text: text}}); err != nil {
			return err
		}
	}
	if err := manner.hold(stream.Context()); err != nil {
		return err
	}
	whole := &headwaterv1.Answer{
		Assistant:    "assistants/" + name,
		ModelVersion: model,
		FinishReason: headwaterv1.FinishReason_FINISH_REASON_STOP,
		Usage: &headwaterv1.Usage{
			InputTokens:  proto.Int32(12),
			OutputTokens: proto.Int32(int32(manner.count)),
			Origin:       headwaterv1.UsageOrigin_USAGE_ORIGIN_REPORTED,
		},
	}
	return stream.Send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Answer{Answer: whole}})
}
