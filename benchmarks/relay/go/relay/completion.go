package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type question struct {
	Model         string          `json:"model"`
	Messages      []message       `json:"messages"`
	Stream        bool            `json:"stream"`
	StreamOptions map[string]bool `json:"stream_options"`
}

// completion is one event of the upstream's stream.
type completion struct {
	Model   string `json:"model"`
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     int32 `json:"prompt_tokens"`
		CompletionTokens int32 `json:"completion_tokens"`
	} `json:"usage"`
}

// completions is an OpenAI-compatible server.
type completions struct {
	url    string
	client *http.Client
}

// errTruncated says that the upstream's stream ended without its own end.
var errTruncated = errors.New("the upstream's stream ended before [DONE]")

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
		if err := a.say(choice.Delta.Content); err != nil {
			return err
		}
	}
	return nil
}

func (c *completions) speak(ctx context.Context, answer *answer) error {
	body, err := json.Marshal(answer.question())
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the upstream answered %s", response.Status)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !found {
			continue
		}
		if string(data) == "[DONE]" {
			_, err := io.Copy(io.Discard, response.Body) // to its end, so that the connection can be used again
			return err
		}
		var event completion
		if err := json.Unmarshal(data, &event); err != nil {
			return err
		}
		if err := answer.take(&event); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errTruncated
}
