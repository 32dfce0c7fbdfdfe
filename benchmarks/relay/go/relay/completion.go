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

// errTruncated says that the upstream's stream ended without its own end.
var errTruncated = errors.New("the upstream's stream ended before [DONE]")

// ask hands each event of the upstream's answer to take, up to [DONE].
func ask(ctx context.Context, client *http.Client, url string, asked question, take func(*completion) error) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
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
		if err := take(&event); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errTruncated
}
