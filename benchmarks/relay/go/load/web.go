package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/headwater/headwater/benchmarks/relay/go/token"
)

// web asks a server that answers a POST with server-sent events of JSON.
type web struct {
	client *http.Client
	url    string
	body   func(tag string) any
	// take adds the text of an event, and tells whether it is the last.
	take func(data []byte, said *said) (last bool, err error)
	// marked tells whether a stream has to say that it ends; else the end of the body is its end.
	marked bool
}

// newRagna asks as Ragna's own page does: an event for each piece, and nothing that says that it was the last.
func newRagna(wanted load) *web {
	return &web{
		client: newClient(),
		url:    "http://" + wanted.target + "/answer",
		body: func(tag string) any {
			return map[string]any{"prompt": token.Prompt(tag), "model": wanted.model, "stream": true}
		},
		take: func(data []byte, said *said) (bool, error) {
			var message struct {
				Content string `json:"content"`
			}
			if err := json.Unmarshal(data, &message); err != nil || message.Content == "" {
				return false, err
			}
			return false, said.add(message.Content)
		},
	}
}

// newOpenAI asks for chat completions.
func newOpenAI(wanted load) *web {
	return &web{
		client: newClient(),
		url:    "http://" + wanted.target + "/v1/chat/completions",
		body: func(tag string) any {
			messages := []map[string]string{{"role": "user", "content": token.Prompt(tag)}}
			return map[string]any{"model": wanted.model, "stream": true, "messages": messages}
		},
		take:   takeCompletion,
		marked: true,
	}
}

func takeCompletion(data []byte, said *said) (bool, error) {
	if string(data) == "[DONE]" {
		return true, nil
	}
	var event struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return false, err
	}
	for _, choice := range event.Choices {
		if choice.Delta.Content == "" {
			continue
		}
		if err := said.add(choice.Delta.Content); err != nil {
			return false, err
		}
	}
	return false, nil
}

func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0 // no limit
	transport.MaxIdleConnsPerHost = 10_000
	return &http.Client{Transport: transport}
}

func (w *web) ask(ctx context.Context, tag string, said *said) error {
	body, err := json.Marshal(w.body(tag))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	lines, ended := bufio.NewScanner(response.Body), !w.marked
	for lines.Scan() {
		data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !found {
			continue
		}
		last, err := w.take(data, said)
		if err != nil {
			return err
		}
		ended = ended || last
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !ended {
		return errors.New("the body ended without [DONE]")
	}
	return said.complete()
}
