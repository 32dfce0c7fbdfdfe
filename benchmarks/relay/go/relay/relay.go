package main

import (
	"crypto/rand"
	"hash/crc32"
	"net/http"
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

// relay answers by asking the upstream, without grounding or with the caller's own sources.
type relay struct {
	headwaterv1.UnimplementedAnswerServiceServer
	url    string
	client *http.Client
}

func (r *relay) StreamAnswer(
	request *headwaterv1.StreamAnswerRequest, stream grpc.ServerStreamingServer[headwaterv1.AnswerChunk],
) error {
	answer := newAnswer(request, stream)
	if err := answer.begin(); err != nil {
		return err
	}
	if err := ask(stream.Context(), r.client, r.url, answer.question(), answer.take); err != nil {
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

func (a *answer) question() question {
	var prompt strings.Builder
	for _, source := range a.whole.Sources {
		prompt.WriteString("[" + source.Id + "] " + source.Content + "\n\n")
	}
	prompt.WriteString(a.whole.Prompt)
	return question{
		Model:         a.model,
		Messages:      []message{{Role: "user", Content: prompt.String()}},
		Stream:        true,
		StreamOptions: map[string]bool{"include_usage": true},
	}
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

func (a *answer) take(event *completion) error {
	a.whole.ModelVersion = event.Model
	if event.Usage != nil {
		a.whole.Usage = &headwaterv1.Usage{
			InputTokens:  &event.Usage.PromptTokens,
			OutputTokens: &event.Usage.CompletionTokens,
			Origin:       headwaterv1.UsageOrigin_USAGE_ORIGIN_REPORTED,
		}
	}
	for _, choice := range event.Choices {
		if choice.FinishReason == "stop" {
			a.whole.FinishReason = headwaterv1.FinishReason_FINISH_REASON_STOP
		}
		if choice.Delta.Content == "" {
			continue
		}
		delta := &headwaterv1.TextDelta{Text: choice.Delta.Content, OffsetBytes: int32(a.text.Len())}
		a.text.WriteString(choice.Delta.Content)
		if err := a.send(&headwaterv1.AnswerChunk{Event: &headwaterv1.AnswerChunk_Text{Text: delta}}); err != nil {
			return err
		}
	}
	return nil
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
