package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rpc asks an AnswerService over a connection.
type rpc struct {
	client headwaterv1.AnswerServiceClient
}

func newRPCs(wanted load) ([]caller, error) {
	callers := make([]caller, wanted.connections)
	for index := range callers {
		connection, err := grpc.NewClient(wanted.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		connection.Connect()
		callers[index] = &rpc{client: headwaterv1.NewAnswerServiceClient(connection)}
	}
	return callers, nil
}

func (r *rpc) ask(ctx context.Context, tag string, said *said) error {
	reading := reading{said: said}
	stream, err := r.client.StreamAnswer(ctx, request(said.wanted, tag))
	for err == nil {
		var chunk *headwaterv1.AnswerChunk
		if chunk, err = stream.Recv(); err == nil {
			err = reading.take(chunk)
		}
	}
	switch {
	case !errors.Is(err, io.EOF):
		if stream != nil && reading.sequence == 0 && status.Code(err) == codes.ResourceExhausted {
			said.refusal = &refusal{time.Since(said.began), hinted(err, stream.Trailer())}
		}
		return err
	case reading.terminal == nil:
		return errors.New("status OK without the terminal message")
	}
	return nil
}

// request asks without grounding, or with sources of some 600 bytes each.
func request(wanted load, tag string) *headwaterv1.StreamAnswerRequest {
	asked := &headwaterv1.StreamAnswerRequest{
		Prompt:    token.Prompt(tag),
		Assistant: wanted.model,
		Grounding: &headwaterv1.StreamAnswerRequest_Ungrounded{Ungrounded: &headwaterv1.NoGrounding{}},
	}
	if wanted.sources > 0 {
		list := &headwaterv1.SourceList{}
		for number := range wanted.sources {
			list.Sources = append(list.Sources, &headwaterv1.Source{
				Document: fmt.Sprintf("document-%d", number+1),
				Title:    fmt.Sprintf("Document %d", number+1),
				Content:  strings.Repeat("A source says what it knows, and a little more. ", 12),
			})
		}
		asked.Grounding = &headwaterv1.StreamAnswerRequest_Provided{Provided: list}
	}
	return asked
}

// hinted tells whether a status says when to try again.
func hinted(err error, trailer metadata.MD) bool {
	if len(trailer.Get("grpc-retry-pushback-ms")) != 1 {
		return false
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.RetryDelay.AsDuration() > 0 {
			return true
		}
	}
	return false
}

// reading is a stream of an AnswerService as far as it was read.
type reading struct {
	said     *said
	sequence int32
	started  bool
	sources  int
	searched bool
	terminal *headwaterv1.Answer
}

func (r *reading) take(chunk *headwaterv1.AnswerChunk) error {
	if r.terminal != nil {
		return errors.New("a message after the terminal one")
	}
	if chunk.GetHeartbeat() != nil {
		return nil
	}
	r.sequence++
	if chunk.Sequence != r.sequence {
		return fmt.Errorf("sequence %d where %d was due", chunk.Sequence, r.sequence)
	}
	switch event := chunk.Event.(type) {
	case *headwaterv1.AnswerChunk_Started:
		r.started = chunk.Sequence == 1
	case *headwaterv1.AnswerChunk_Retrieved:
		r.sources += len(event.Retrieved.Sources)
		r.searched = event.Retrieved.Statistics != nil
	case *headwaterv1.AnswerChunk_Text:
		return r.takeText(event.Text)
	case *headwaterv1.AnswerChunk_Answer:
		r.terminal = event.Answer
		return r.checkTerminal()
	}
	return nil
}

func (r *reading) takeText(delta *headwaterv1.TextDelta) error {
	if wanted := r.said.wanted.sources; !r.started || !r.searched || r.sources != wanted {
		return fmt.Errorf("text before started and retrieved, or after %d sources of %d", r.sources, wanted)
	}
	if int(delta.OffsetBytes) != len(r.said.text) {
		return fmt.Errorf("text at %d where %d was due", delta.OffsetBytes, len(r.said.text))
	}
	return r.said.add(delta.Text)
}

func (r *reading) checkTerminal() error {
	text, sources := r.said.text, r.said.wanted.sources
	switch {
	case r.terminal.FinishReason != headwaterv1.FinishReason_FINISH_REASON_STOP:
		return fmt.Errorf("finish reason %s", r.terminal.FinishReason)
	case r.terminal.Text != string(text):
		return errors.New("the terminal message's text is not what was streamed")
	case r.terminal.TextCrc32C == nil || r.terminal.GetTextCrc32C() != crc32.Checksum(text, castagnoli):
		return errors.New("the terminal message's CRC is not the text's")
	case len(r.terminal.Sources) != sources:
		return fmt.Errorf("%d sources in the terminal message instead of %d", len(r.terminal.Sources), sources)
	case r.terminal.LastSequence != r.sequence:
		return fmt.Errorf("last sequence %d instead of %d", r.terminal.LastSequence, r.sequence)
	}
	return r.said.complete()
}
