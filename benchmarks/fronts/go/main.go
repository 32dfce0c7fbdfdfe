// Command go is the yardstick: a server that says paced answers of its own, with grpc-go as it comes.
package main

import (
	"flag"
	"fmt"
	"hash/crc32"
	"log"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

const (
	firstToken    = 50 * time.Millisecond
	betweenTokens = 20 * time.Millisecond
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	server := grpc.NewServer()
	headwaterv1.RegisterAnswerServiceServer(server, &speaker{})
	fmt.Printf("ready %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}

type speaker struct {
	headwaterv1.UnimplementedAnswerServiceServer
}

// StreamAnswer says the tokens of the model `paced-N`. A token says when it was due, so that a late one is seen to be late.
func (*speaker) StreamAnswer(
	request *headwaterv1.StreamAnswerRequest, stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk],
) error {
	arrived := time.Now()
	_, number, _ := strings.Cut(request.Assistant, "paced-")
	count, err := strconv.Atoi(number)
	if err != nil {
		return status.Error(codes.NotFound, "the models are paced-N")
	}
	started := &headwaterv1.AnswerStarted{Answer: "answers/paced"}
	retrieved := &headwaterv1.SourcesRetrieved{Statistics: &headwaterv1.RetrievalStatistics{}}
	chunks := []*headwaterv1.AnswerChunk{
		{Sequence: 1, Event: &headwaterv1.AnswerChunk_Started{Started: started}},
		{Sequence: 2, Event: &headwaterv1.AnswerChunk_Retrieved{Retrieved: retrieved}},
	}
	for _, chunk := range chunks {
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
	var text strings.Builder
	for number := range count {
		due := arrived.Add(firstToken + time.Duration(number)*betweenTokens)
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-time.After(time.Until(due)):
		}
		delta := &headwaterv1.TextDelta{Text: token.Of(number, due), OffsetBytes: int32(text.Len())}
		text.WriteString(delta.Text)
		chunk := &headwaterv1.AnswerChunk{Sequence: int32(number + 3), Event: &headwaterv1.AnswerChunk_Text{Text: delta}}
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
	last := int32(count + 3)
	answer := &headwaterv1.Answer{
		Name:         "answers/paced",
		State:        headwaterv1.AnswerState_ANSWER_STATE_SUCCEEDED,
		Text:         text.String(),
		FinishReason: headwaterv1.FinishReason_FINISH_REASON_STOP,
		LastSequence: last,
		TextCrc32C:   proto.Uint32(crc32.Checksum([]byte(text.String()), castagnoli)),
	}
	return stream.Send(&headwaterv1.AnswerChunk{Sequence: last, Event: &headwaterv1.AnswerChunk_Answer{Answer: answer}})
}
