package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// caller is how a kind of server is asked.
type caller interface {
	// ask opens a stream, and reads it to its end. What was read of it has an error if anything is not as it must be.
	ask(ctx context.Context, tag string, said *said) error
}

// newCallers makes one for each connection; they live as long as the program.
func newCallers(wanted load) ([]caller, error) {
	switch wanted.form {
	case "grpc":
		return newRPCs(wanted)
	case "ragna":
		return []caller{newRagna(wanted)}, nil
	case "openai":
		return []caller{newOpenAI(wanted)}, nil
	}
	return nil, fmt.Errorf("there is no form %q", wanted.form)
}

// run asks all streams, and returns when the last has ended.
func run(ctx context.Context, wanted load) ([]*said, error) {
	callers, err := newCallers(wanted)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", wanted.target, err)
	}
	ctx, release := context.WithCancel(ctx)
	defer release()
	random := rand.New(rand.NewPCG(wanted.seed, 0))
	results := make([]*said, wanted.streams)
	begin := time.Now().Add(100 * time.Millisecond) // for the connections to stand
	batch := begin.UnixMicro()
	var ended, first sync.WaitGroup
	for index := range results {
		results[index] = &said{wanted: wanted, tag: fmt.Sprintf("%d-%d", batch, index)}
		var delay, patience time.Duration
		if wanted.spread > 0 {
			delay = time.Duration(random.Int64N(int64(wanted.spread)))
		}
		if wanted.giveUp > 0 {
			patience = time.Duration(random.Int64N(int64(wanted.giveUp)))
		}
		if wanted.hold {
			first.Add(1)
		}
		ended.Go(func() {
			time.Sleep(time.Until(begin.Add(delay)))
			one(ctx, callers[index%len(callers)], results[index], patience, &first)
		})
	}
	if wanted.hold {
		first.Wait()
		fmt.Println("holding")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return nil, err
		}
		release()
	}
	ended.Wait()
	if wanted.giveUp > 0 {
		err = addClosings(ctx, wanted.upstream, results)
	}
	return results, err
}

// one asks one stream, and does with it what is wanted when its first token has come.
func one(ctx context.Context, caller caller, said *said, patience time.Duration, first *sync.WaitGroup) {
	wanted := said.wanted
	came := sync.OnceFunc(first.Done)
	own, leave := context.WithCancel(ctx)
	defer leave()
	said.onFirst = func() {
		if wanted.giveUp > 0 {
			time.AfterFunc(patience, func() {
				said.gaveUp.Store(time.Now().UnixMicro())
				leave()
			})
		}
		if wanted.hold {
			came()
		}
		if wanted.stall {
			<-ctx.Done()
		}
	}
	said.began = time.Now()
	said.err = caller.ask(own, said.tag, said)
	if wanted.hold {
		came() // also if there never was one
	}
	left := said.gaveUp.Load() > 0 || (wanted.hold && ctx.Err() != nil)
	if left && (errors.Is(said.err, context.Canceled) || status.Code(said.err) == codes.Canceled) {
		said.err = nil
	}
}
