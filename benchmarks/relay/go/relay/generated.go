package main

import (
	"context"
	"errors"
	"io"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

// generated is an AssistantService.
type generated struct {
	client headwaterv1.AssistantServiceClient
}

func (g *generated) speak(ctx context.Context, answer *answer) error {
	stream, err := g.client.StreamGenerate(ctx, &headwaterv1.StreamGenerateRequest{
		Answer:    answer.whole.Name,
		Assistant: answer.whole.Assistant,
		Prompt:    answer.whole.Prompt,
		Sources:   answer.whole.Sources,
		Grounded:  len(answer.whole.Sources) > 0,
	})
	var last *headwaterv1.Answer
	for err == nil {
		var chunk *headwaterv1.AnswerChunk
		if chunk, err = stream.Recv(); err != nil {
			break
		}
		switch event := chunk.Event.(type) {
		case *headwaterv1.AnswerChunk_Text:
			err = answer.say(event.Text.Text)
		case *headwaterv1.AnswerChunk_Answer:
			last = event.Answer
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if last == nil {
		return errors.New("the assistant's stream ended without its answer")
	}
	answer.whole.ModelVersion, answer.whole.FinishReason, answer.whole.Usage = last.ModelVersion, last.FinishReason, last.Usage
	return nil
}
