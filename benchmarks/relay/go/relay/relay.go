package main

import (
	"context"
	"crypto/rand"
	"hash/crc32"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// source is where answers come from.
type source interface {
	// speak hands what is said to the answer, and returns when that is all.
	speak(ctx context.Context, answer *answer) error
}

// relay answers by asking its source, without grounding or with the caller's own sources.
type relay struct {
	headwaterv1.UnimplementedAnswerServiceServer
	source source
}

func (r *relay) StreamAnswer(
	request *headwaterv1.StreamAnswerRequest, stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk],
) error {
	answer := newAnswer(request, stream)
	if err := answer.begin(); err != nil {
		return err
	}
	if err := r.source.speak(stream.Context(), answer); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return answer.end()
}

// answer is one answer as it is made.
type answer struct {
	stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk]
	whole  *headwaterv1.Answer
	text   strings.Builder
	model  string
}

func newAnswer(
	request *headwaterv1.StreamAnswerRequest, stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk],
) *answer {
	assistant := strings.TrimPrefix(request.Assistant, "assistants/")
	_, model, _ := strings.Cut(assistant, "/")
	whole := &headwaterv1.Answer{
		Name:       "answers/" + rand.Text(),
		RequestId:  request.RequestId,
		Prompt:     request.Prompt,
		Assistant:  "assistants/" + assistant,
		CreateTime: timestamppb.Now(),
	}
	for number, given := range request.GetProvided().GetSources() {
		source := proto.CloneOf(given)
		source.Id = strconv.Itoa(number + 1)
		source.Disposition = headwaterv1.SourceDisposition_SOURCE_DISPOSITION_PRESENTED
		whole.Sources = append(whole.Sources, source)
	}
	return &answer{stream: stream, whole: whole, model: model}
}

func (a *answer) send(chunk *headwaterv1.AnswerChunk) error {
	a.whole.LastSequence++
	chunk.Sequence = a.whole.LastSequence
	return a.stream.Send(chunk)
}

func (a *answer) begin() error {
	started := &headwaterv1.AnswerStarted{
		Answer: a.whole.Name, Assistant: a.whole.Assistant, CreateTime: a.whole.CreateTime,
	}
	if err := a.send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Started{Started: started}}); err != nil {
		return err
	}
	retrieved := &headwaterv1.SourcesRetrieved{Sources: a.whole.Sources, Statistics: &headwaterv1.RetrievalStatistics{}}
	return a.send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Retrieved{Retrieved: retrieved}})
}

// say hands a piece of text on.
func (a *answer) say(text string) error {
	delta := &headwaterv1.TextDelta{Text: text, OffsetBytes: int32(a.text.Len())}
	a.text.WriteString(text)
	return a.send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Text{Text: delta}})
}

func (a *answer) end() error {
	a.whole.State = headwaterv1.AnswerState_ANSWER_STATE_SUCCEEDED
	a.whole.Text = a.text.String()
	a.whole.TextCrc32C = proto.Uint32(crc32.Checksum([]byte(a.whole.Text), castagnoli))
	a.whole.CompleteTime = timestamppb.Now()
	a.whole.LastSequence++
	terminal := &headwaterv1.AnswerChunk{
		Sequence: a.whole.LastSequence, Event: &headwaterv1.AnswerChunk_Answer{Answer: a.whole},
	}
	return a.stream.Send(terminal)
}
