// Package headwater_test holds the Go code of the protos against a real server: the one at HEADWATER_TARGET (host:port), whose
// corpus `default` holds documents. HEADWATER_PROMPT changes the question.
package headwater_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

const timeLimit = 60 * time.Second

// answerService connects to the server under test, or skips the test if none is named.
func answerService(t *testing.T) headwaterv1.AnswerServiceClient {
	t.Helper()
	target := os.Getenv("HEADWATER_TARGET")
	if target == "" {
		t.Skip("HEADWATER_TARGET names no server")
	}
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("connecting to %s: %v", target, err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return headwaterv1.NewAnswerServiceClient(connection)
}

func prompt() string {
	if prompt := os.Getenv("HEADWATER_PROMPT"); prompt != "" {
		return prompt
	}
	return "How many hours of annual leave can I carry over to the next leave year?"
}

// received is what a stream has brought so far, with the checks that each further event must pass.
type received struct {
	sequence       int32
	started        *headwaterv1.AnswerStarted
	sources        []*headwaterv1.Source
	sourcesEnded   bool
	contentStarted bool
	text           []byte
	citations      []*headwaterv1.Citation
	terminal       *headwaterv1.Answer
}

// add takes one more chunk, or says which rule of the stream it breaks.
func (r *received) add(chunk *headwaterv1.AnswerChunk) error {
	if r.terminal != nil {
		return fmt.Errorf("chunk %d comes after the terminal answer", chunk.Sequence)
	}
	if chunk.GetHeartbeat() != nil {
		if chunk.Sequence != r.sequence {
			return fmt.Errorf("a heartbeat after chunk %d carries sequence %d", r.sequence, chunk.Sequence)
		}
		return nil
	}
	if chunk.Sequence != r.sequence+1 {
		return fmt.Errorf("sequence %d follows %d", chunk.Sequence, r.sequence)
	}
	r.sequence = chunk.Sequence
	if err := r.event(chunk); err != nil {
		return fmt.Errorf("chunk %d: %w", chunk.Sequence, err)
	}
	return nil
}

func (r *received) event(chunk *headwaterv1.AnswerChunk) error {
	if isStart := chunk.GetStarted() != nil; isStart == (r.started != nil) {
		return fmt.Errorf("started must come first and once, not %T", chunk.Event)
	}
	switch event := chunk.Event.(type) {
	case *headwaterv1.AnswerChunk_Started:
		r.started = event.Started
		return nil
	case *headwaterv1.AnswerChunk_Retrieved:
		return r.retrieved(event.Retrieved)
	}
	if !r.sourcesEnded {
		return fmt.Errorf("%T comes before the last sources", chunk.Event)
	}
	switch event := chunk.Event.(type) {
	case *headwaterv1.AnswerChunk_Text:
		return r.delta(event.Text)
	case *headwaterv1.AnswerChunk_Citation:
		return r.citation(event.Citation)
	case *headwaterv1.AnswerChunk_Answer:
		return r.answer(event.Answer)
	case *headwaterv1.AnswerChunk_Snapshot:
		return errors.New("a snapshot comes without a resume")
	}
	return nil // Reasoning, or an event that this client does not know: counted, nothing more.
}

func (r *received) retrieved(event *headwaterv1.SourcesRetrieved) error {
	if r.sourcesEnded {
		return errors.New("sources come after the statistics")
	}
	r.sources = append(r.sources, event.Sources...)
	r.sourcesEnded = event.Statistics != nil
	return nil
}

func (r *received) delta(event *headwaterv1.TextDelta) error {
	if event.Text == "" || int(event.OffsetBytes) != len(r.text) {
		return fmt.Errorf("text %q at %d, after %d bytes", event.Text, event.OffsetBytes, len(r.text))
	}
	r.text = append(r.text, event.Text...)
	return nil
}

func (r *received) citation(event *headwaterv1.Citation) error {
	start, end := int(event.StartByte), int(event.EndByte)
	if start < 0 || start >= end || end > len(r.text) {
		return fmt.Errorf("citation of [%d, %d), after %d bytes", start, end, len(r.text))
	}
	if !utf8.Valid(r.text[:start]) || !utf8.Valid(r.text[start:end]) {
		return fmt.Errorf("citation of [%d, %d) splits a code point", start, end)
	}
	if len(event.Evidence) == 0 {
		return errors.New("a citation has no evidence")
	}
	for _, evidence := range event.Evidence {
		if !r.hasSource(evidence.SourceId) {
			return fmt.Errorf("evidence names source %q, which was not retrieved", evidence.SourceId)
		}
	}
	r.citations = append(r.citations, event)
	return nil
}

func (r *received) hasSource(id string) bool {
	for _, source := range r.sources {
		if id != "" && source.Id == id {
			return true
		}
	}
	return false
}

func (r *received) answer(event *headwaterv1.Answer) error {
	r.terminal = event
	checksum := crc32.Checksum([]byte(event.Text), crc32.MakeTable(crc32.Castagnoli))
	switch {
	case event.Name != r.started.Answer:
		return fmt.Errorf("the answer is named %q, and was %q at the start", event.Name, r.started.Answer)
	case event.State != headwaterv1.AnswerState_ANSWER_STATE_SUCCEEDED:
		return fmt.Errorf("the answer ended %v", event.State)
	case event.LastSequence != r.sequence:
		return fmt.Errorf("the answer ends with sequence %d, but says %d", r.sequence, event.LastSequence)
	case event.Text != string(r.text):
		return fmt.Errorf("the answer's text %q is not the joined deltas %q", event.Text, r.text)
	case event.TextCrc32C == nil || *event.TextCrc32C != checksum:
		return fmt.Errorf("the text's CRC-32C is %#x, but the answer says %#x", checksum, event.GetTextCrc32C())
	case len(event.Sources) != len(r.sources):
		return fmt.Errorf("the answer has %d sources, %d were retrieved", len(event.Sources), len(r.sources))
	case !proto.Equal(&headwaterv1.Answer{Citations: event.Citations}, &headwaterv1.Answer{Citations: r.citations}):
		return fmt.Errorf("the answer's citations %v are not those of the stream %v", event.Citations, r.citations)
	}
	return nil
}

func TestAStreamedAnswerKeepsTheRulesOfTheStream(t *testing.T) {
	client := answerService(t)
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	stream, err := client.StreamAnswer(ctx, &headwaterv1.StreamAnswerRequest{Prompt: prompt()})
	if err != nil {
		t.Fatal(err)
	}
	var r received
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after chunk %d: %v", r.sequence, err)
		}
		if err := r.add(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if r.terminal == nil {
		t.Fatalf("the stream ended OK after chunk %d, without its terminal answer", r.sequence)
	}
	if len(r.text) == 0 || len(r.sources) == 0 || len(r.citations) == 0 {
		t.Fatalf("a question about the corpus got %d bytes of text, %d sources, %d citations (%v, %v)",
			len(r.text), len(r.sources), len(r.citations), r.terminal.FinishReason, r.terminal.AbstainReason)
	}
	t.Logf("%d events, %d bytes, %d sources, %d citations", r.sequence, len(r.text), len(r.sources), len(r.citations))
}

func TestAFailureCarriesItsErrorInfo(t *testing.T) {
	client := answerService(t)
	cases := []struct {
		name    string
		request *headwaterv1.StreamAnswerRequest
		code    codes.Code
		reason  string
	}{
		{"an empty prompt", &headwaterv1.StreamAnswerRequest{}, codes.InvalidArgument, "INVALID_FIELD"},
		{"an unknown corpus", &headwaterv1.StreamAnswerRequest{
			Prompt: prompt(),
			Grounding: &headwaterv1.StreamAnswerRequest_Retrieval{
				Retrieval: &headwaterv1.RetrievalOptions{Corpora: []string{"no-such-corpus"}},
			},
		}, codes.NotFound, "RESOURCE_NOT_FOUND"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
			defer cancel()
			failure := status.Convert(failureOf(ctx, client, c.request))
			if failure.Code() != c.code {
				t.Fatalf("got %v (%s), want %v", failure.Code(), failure.Message(), c.code)
			}
			info := errorInfo(failure)
			if info.GetReason() != c.reason || info.GetDomain() != "headwater" {
				t.Fatalf("got ErrorInfo %v, want reason %s of domain headwater", info, c.reason)
			}
			if _, known := headwaterv1.ErrorReason_value["ERROR_REASON_"+info.Reason]; !known {
				t.Fatalf("ErrorReason does not have %s", info.Reason)
			}
		})
	}
}

// failureOf reads a stream to its end and returns the error it ended with, nil for OK.
func failureOf(
	ctx context.Context, client headwaterv1.AnswerServiceClient, request *headwaterv1.StreamAnswerRequest,
) error {
	stream, err := client.StreamAnswer(ctx, request)
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// errorInfo returns the ErrorInfo among the details of a status, or nil.
func errorInfo(failure *status.Status) *errdetails.ErrorInfo {
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}
