package dev.headwater;

import com.google.rpc.ErrorInfo;
import dev.headwater.v1.AnswerChunk;
import dev.headwater.v1.AnswerServiceGrpc;
import dev.headwater.v1.AnswerServiceGrpc.AnswerServiceBlockingStub;
import dev.headwater.v1.StreamAnswerRequest;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The scenarios of tests/sdks/transport_server.py, which the server at HEADWATER_TRANSPORT_TARGET plays. */
public final class Transport {
  private static final long LIMIT_SECONDS = 60;

  private Transport() {}

  public static void main(String[] arguments) throws Exception {
    String target = System.getenv("HEADWATER_TRANSPORT_TARGET");
    if (target == null) {
      System.out.println("transport: HEADWATER_TRANSPORT_TARGET is not set");
      return;
    }
    ManagedChannel channel = NettyChannelBuilder.forTarget(target).usePlaintext().build();
    try {
      play(AnswerServiceGrpc.newBlockingStub(channel));
      goAway(AnswerServiceGrpc.newBlockingStub(channel));
    } finally {
      channel.shutdownNow().awaitTermination(LIMIT_SECONDS, TimeUnit.SECONDS);
    }
    secure(System.getenv("HEADWATER_TRANSPORT_TLS_TARGET"), System.getenv("HEADWATER_TRANSPORT_CA"));
  }

  private static void play(AnswerServiceBlockingStub stub) throws Exception {
    List<String> counted = texts(stub, "count 1000");
    require(counted.size() == 1000 && counted.get(999).equals("999"), counted);
    passed("stream");

    require(texts(stub, "size " + "x".repeat(3_000_000)).equals(List.of("3000005")), "size");
    passed("request");

    Iterator<AnswerChunk> large = begun(stub, "large 24");
    Thread.sleep(500); // nobody reads meanwhile
    require(String.join("", texts(large)).length() == 24 << 20, "large");
    passed("windows");

    StatusRuntimeException failure = failureOf(begun(stub, "fail"));
    require(failure.getStatus().getCode() == Status.Code.RESOURCE_EXHAUSTED, failure);
    require("langsam, 20 % – später".equals(failure.getStatus().getDescription()), failure);
    ErrorInfo info = StatusProto.fromThrowable(failure).getDetails(0).unpack(ErrorInfo.class);
    require(info.getReason().equals("PROVIDER_RATE_LIMITED"), info);
    passed("details");

    StatusRuntimeException late = failureOf(begun(stub.withDeadlineAfter(300, TimeUnit.MILLISECONDS), "hang"));
    require(late.getStatus().getCode() == Status.Code.DEADLINE_EXCEEDED, late);
    require(texts(stub, "gone").equals(List.of("gone")), "gone");
    passed("deadline");

    try (Context.CancellableContext cancelled = Context.current().withCancellation()) {
      Context before = cancelled.attach();
      try {
        begun(stub, "hang").next();
      } finally {
        cancelled.detach(before);
      }
    }
    require(texts(stub, "gone").equals(List.of("gone")), "gone");
    passed("cancel");
  }

  private static void goAway(AnswerServiceBlockingStub stub) {
    require(texts(stub, "goaway").equals(List.of("before", "after", "last")), "goaway");
    require(texts(stub, "count 2").size() == 2, "count");
    passed("goaway");
  }

  private static void secure(String target, String authority) throws Exception {
    ManagedChannel channel =
        NettyChannelBuilder.forTarget(target)
            .sslContext(GrpcSslContexts.forClient().trustManager(new File(authority)).build())
            .build();
    try {
      require(texts(AnswerServiceGrpc.newBlockingStub(channel), "count 3").size() == 3, "count");
      passed("tls");
    } finally {
      channel.shutdownNow().awaitTermination(LIMIT_SECONDS, TimeUnit.SECONDS);
    }
  }

  private static Iterator<AnswerChunk> begun(AnswerServiceBlockingStub stub, String prompt) {
    StreamAnswerRequest request = StreamAnswerRequest.newBuilder().setPrompt(prompt).build();
    boolean hasDeadline = stub.getCallOptions().getDeadline() != null;
    return (hasDeadline ? stub : stub.withDeadlineAfter(LIMIT_SECONDS, TimeUnit.SECONDS)).streamAnswer(request);
  }

  private static List<String> texts(AnswerServiceBlockingStub stub, String prompt) {
    return texts(begun(stub, prompt));
  }

  private static List<String> texts(Iterator<AnswerChunk> stream) {
    List<String> found = new ArrayList<>();
    stream.forEachRemaining(chunk -> found.add(chunk.getText().getText()));
    return found;
  }

  private static StatusRuntimeException failureOf(Iterator<AnswerChunk> stream) {
    try {
      texts(stream);
    } catch (StatusRuntimeException failure) {
      return failure;
    }
    throw new AssertionError("the stream ended OK");
  }

  private static void require(boolean right, Object found) {
    if (!right) {
      throw new AssertionError(found);
    }
  }

  private static void passed(String scenario) {
    System.out.println("transport: " + scenario + " passed");
  }
}
