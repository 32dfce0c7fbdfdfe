package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// closingLimit is how long an upstream may go on for nobody before it counts as never left.
const closingLimit = 5 * time.Second

// addClosings asks the upstream when it was left by those whose callers gave up, until it has been by all.
func addClosings(ctx context.Context, upstream string, results []*said) error {
	for give := time.Now().Add(closingLimit); ; time.Sleep(50 * time.Millisecond) {
		at, err := closings(ctx, upstream)
		if err != nil {
			return err
		}
		open := 0
		for _, said := range results {
			gaveUp := said.gaveUp.Load()
			if when, found := at[said.tag]; found && gaveUp > 0 {
				said.closed = max(time.Microsecond, time.Duration(when-gaveUp)*time.Microsecond)
			} else if gaveUp > 0 {
				open++
			}
		}
		if open == 0 || time.Now().After(give) {
			return nil
		}
	}
}

func closings(ctx context.Context, upstream string) (map[string]int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+upstream+"/closed", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	at := map[string]int64{}
	return at, json.NewDecoder(response.Body).Decode(&at)
}
