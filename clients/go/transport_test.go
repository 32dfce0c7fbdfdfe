package headwater_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	headwaterv1 "github.com/headwater/headwater/clients/go/headwater/v1"
)

// The scenarios of tests/sdks/transport_server.py, which the server at HEADWATER_TRANSPORT_TARGET plays.

func transport(t *testing.T, variable string, security credentials.TransportCredentials) headwaterv1.AnswerServiceClient {
	t.Helper()
	target := os.Getenv(variable)
	if target == "" {
		t.Skip(variable + " is not set")
	}
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(security))
	if err != nil {
		t.Fatalf("connecting to %s: %v", target, err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return headwaterv1.NewAnswerServiceClient(connection)
}

func begun(t *testing.T, ctx context.Context, client headwaterv1.AnswerServiceClient, prompt string) grpc.ServerStreamingClient[headwaterv1.AnswerChunk] {
	t.Helper()
	stream, err := client.StreamAnswer(ctx, &headwaterv1.StreamAnswerRequest{Prompt: prompt})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// texts reads a stream to its end; what came before an error is kept.
func texts(stream grpc.ServerStreamingClient[headwaterv1.AnswerChunk]) ([]string, error) {
	var found []string
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		found = append(found, chunk.GetText().GetText())
	}
}

func require(t *testing.T, right bool, found ...any) {
	t.Helper()
	if !right {
		t.Fatal(found...)
	}
}

func TestTheTransport(t *testing.T) {
	client := transport(t, "HEADWATER_TRANSPORT_TARGET", insecure.NewCredentials())
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	played := func(prompt string) []string {
		t.Helper()
		found, err := texts(begun(t, ctx, client, prompt))
		require(t, err == nil, prompt, err)
		return found
	}

	found := played("count 1000")
	require(t, len(found) == 1000 && found[999] == "999", len(found))
	t.Log("transport: stream passed")

	found = played("size " + strings.Repeat("x", 3_000_000))
	require(t, len(found) == 1 && found[0] == "3000005", found)
	t.Log("transport: request passed")

	large := begun(t, ctx, client, "large 24")
	time.Sleep(500 * time.Millisecond) // nobody reads meanwhile
	found, err := texts(large)
	require(t, err == nil && len(strings.Join(found, "")) == 24<<20, err)
	t.Log("transport: windows passed")

	found, err = texts(begun(t, ctx, client, "fail"))
	failure := status.Convert(err)
	require(t, len(found) == 1 && failure.Code() == codes.ResourceExhausted && failure.Message() == "langsam, 20 % – später", failure)
	require(t, errorInfo(failure).GetReason() == "PROVIDER_RATE_LIMITED", failure.Details())
	t.Log("transport: details passed")

	short, done := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = texts(begun(t, short, client, "hang"))
	done()
	require(t, status.Code(err) == codes.DeadlineExceeded, err)
	require(t, played("gone")[0] == "gone")
	t.Log("transport: deadline passed")

	cancelled, giveUp := context.WithCancel(ctx)
	hanging := begun(t, cancelled, client, "hang")
	_, err = hanging.Recv()
	require(t, err == nil, err)
	giveUp()
	require(t, played("gone")[0] == "gone")
	t.Log("transport: cancel passed")

	found = played("goaway")
	require(t, strings.Join(found, " ") == "before after last", found)
	require(t, len(played("count 2")) == 2)
	t.Log("transport: goaway passed")

	authority, err := os.ReadFile(os.Getenv("HEADWATER_TRANSPORT_CA"))
	require(t, err == nil, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	secure := transport(t, "HEADWATER_TRANSPORT_TLS_TARGET", credentials.NewTLS(&tls.Config{RootCAs: roots}))
	found, err = texts(begun(t, ctx, secure, "count 3"))
	require(t, err == nil && len(found) == 3, err)
	t.Log("transport: tls passed")
}
