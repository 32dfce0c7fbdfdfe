package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// result is what one stream brought.
type result struct {
	addedFirst time.Duration
	latencies  []time.Duration
	messages   int
	err        error
	refusal    *refusal
}

// refusal is how a server says that it has too much to do.
type refusal struct {
	after  time.Duration
	hinted bool // it says when to try again, in the details and to gRPC
}

// ask opens one stream and reads it to its end. The result has an error if anything is not as the rules of the stream want it.
func ask(ctx context.Context, client headwaterv1.AnswerServiceClient, wanted load) result {
	reading := reading{wanted: wanted, result: result{latencies: make([]time.Duration, 0, wanted.tokens)}}
	began := time.Now()
	stream, err := client.StreamAnswer(ctx, request(wanted))
	for err == nil {
		var chunk *headwaterv1.AnswerChunk
		if chunk, err = stream.Recv(); err == nil {
			err = reading.take(chunk, began, time.Now())
		}
	}
	if !errors.Is(err, io.EOF) {
		reading.result.err = err
		if stream != nil && reading.sequence == 0 && status.Code(err) == codes.ResourceExhausted {
			reading.result.refusal = &refusal{time.Since(began), hinted(err, stream.Trailer())}
		}
	} else if reading.terminal == nil {
		reading.result.err = errors.New("status OK without the terminal message")
	}
	return reading.result
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

// reading is a stream as far as it was read.
type reading struct {
	wanted   load
	result   result
	sequence int32
	started  bool
	sources  int
	searched bool
	text     []byte
	terminal *headwaterv1.Answer
}

func (r *reading) take(chunk *headwaterv1.AnswerChunk, began, now time.Time) error {
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
		return r.takeText(event.Text, began, now)
	case *headwaterv1.AnswerChunk_Answer:
		r.terminal = event.Answer
		return r.checkTerminal()
	}
	return nil
}

func (r *reading) takeText(delta *headwaterv1.TextDelta, began, now time.Time) error {
	if !r.started || !r.searched || r.sources != r.wanted.sources {
		return fmt.Errorf("text before started and retrieved, or after %d sources of %d", r.sources, r.wanted.sources)
	}
	if int(delta.OffsetBytes) != len(r.text) {
		return fmt.Errorf("text at %d where %d was due", delta.OffsetBytes, len(r.text))
	}
	if r.result.messages == 0 {
		r.result.addedFirst = now.Sub(began) - r.wanted.firstToken
	}
	r.result.messages++
	r.text = append(r.text, delta.Text...)
	for len(r.text) >= (len(r.result.latencies)+1)*token.Size {
		next := len(r.result.latencies)
		number, sent, err := token.Read(string(r.text[next*token.Size : (next+1)*token.Size]))
		if err != nil {
			return err
		}
		if number != next {
			return fmt.Errorf("token %d where %d was due", number, next)
		}
		r.result.latencies = append(r.result.latencies, now.Sub(sent))
	}
	return nil
}

func (r *reading) checkTerminal() error {
	switch {
	case r.terminal.FinishReason != headwaterv1.FinishReason_FINISH_REASON_STOP:
		return fmt.Errorf("finish reason %s", r.terminal.FinishReason)
	case r.terminal.Text != string(r.text):
		return errors.New("the terminal message's text is not what was streamed")
	case r.terminal.TextCrc32C == nil || r.terminal.GetTextCrc32C() != crc32.Checksum(r.text, castagnoli):
		return errors.New("the terminal message's CRC is not the text's")
	case len(r.text) != r.wanted.tokens*token.Size:
		return fmt.Errorf("%d bytes of text instead of %d tokens", len(r.text), r.wanted.tokens)
	case len(r.terminal.Sources) != r.wanted.sources:
		return fmt.Errorf("%d sources in the terminal message instead of %d", len(r.terminal.Sources), r.wanted.sources)
	case r.terminal.LastSequence != r.sequence:
		return fmt.Errorf("last sequence %d instead of %d", r.terminal.LastSequence, r.sequence)
	}
	return nil
}
