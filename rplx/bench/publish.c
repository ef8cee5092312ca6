// publish: sends as fast as the server acknowledges, and prints one line of JSON. Without -W each send has a connection
// of its own; with -W each publisher keeps one connection and that many sends under way (pipelined HTTP).
#include "common.h"

#define PUBLISHERS_MAX 64
#define OUT_MAX (1 << 20) // bytes of requests written at once

static struct {
  const char *in, *publish, *prefix;
  int publishers, channels, payload, window, subnet, half_close, pid;
  double seconds;
} options = {.prefix = "c", .publishers = 4, .channels = 1, .payload = 64, .half_close = 1, .seconds = 3};

static struct {
  volatile long sent[PUBLISHERS_MAX], failed[PUBLISHERS_MAX];
} *common;
static Address in_address;
static char *message;

// the i-th request of a publisher; publishers begin at different channels
static char *request(int me, long i) {
  Values values = {.prefix = options.prefix, .cursor = "", .message = message,
                   .channel = (me * 7919 + i) % options.channels};
  return expand(options.publish, values);
}

static void one_by_one(int me, double end) {
  char answer[4096];
  for (long i = 0; now() < end; i++)
    if (ask_once(in_address, options.subnet, 1 + me, request(me, i), options.half_close, answer, sizeof answer))
      common->sent[me]++;
    else
      common->failed[me]++;
}

// Counts answers across the segments they come in; *matched is how much of the text the last one ended with.
static int count_answers(const char *data, ssize_t length, size_t *matched) {
  static const char good[] = "HTTP/1.1 200";
  int answers = 0;
  for (ssize_t i = 0; i < length; i++) {
    *matched = data[i] == good[*matched] ? *matched + 1 : data[i] == good[0];
    if (good[*matched]) continue;
    *matched = 0;
    answers++;
  }
  return answers;
}

static void pipelined(int me, double end) {
  static char buffer[65536];
  char *out = allocate(OUT_MAX);
  size_t matched = 0;
  long i = 0, under_way = 0;
  int fd = connected(in_address, options.subnet, 1 + me);
  while (fd >= 0 && now() < end) {
    size_t length = 0;
    for (; under_way < options.window; under_way++, i++) {
      char *text = request(me, i);
      if (length + strlen(text) > OUT_MAX) break;
      length = (char *)mempcpy(out + length, text, strlen(text)) - out;
    }
    ssize_t received = send_all(fd, out, length) ? recv(fd, buffer, sizeof buffer, 0) : -1;
    if (received <= 0) break;
    int answers = count_answers(buffer, received, &matched);
    common->sent[me] += answers;
    under_way -= answers;
  }
  if (fd < 0 || now() < end) common->failed[me]++;
}

static void read_options(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "i:p:g:P:c:b:W:a:S:t:x:")) != -1;) switch (option) {
    case 'i': options.in = optarg; break;               // HOST:PORT
    case 'p': options.publish = optarg; break;          // template of a send
    case 'g': options.prefix = optarg; break;           // channels are PREFIX0, PREFIX1, ...
    case 'P': options.publishers = atoi(optarg); break;
    case 'c': options.channels = atoi(optarg); break;
    case 'b': options.payload = atoi(optarg); break;    // bytes of a message without its quotes
    case 'W': options.window = atoi(optarg); break;     // sends under way on a kept connection; 0: a connection each
    case 'a': options.subnet = atoi(optarg); break;     // connect from 127.0.SUBNET.*; 0: from anywhere
    case 'S': options.half_close = atoi(optarg); break; // 1: half-close behind a send
    case 't': options.seconds = atof(optarg); break;
    case 'x': options.pid = atoi(optarg); break;        // the server's process, for its CPU time
    default: exit(2);
  }
  if (!options.in) fail("publish needs -i HOST:PORT");
  if (options.publishers < 1 || options.publishers > PUBLISHERS_MAX) fail("-P must be 1 to %d", PUBLISHERS_MAX);
  if (options.channels < 1 || options.payload < 0) fail("-c must be at least 1, -b at least 0");
  if (options.publish) return;
  options.publish = options.window ? "POST / HTTP/1.1\\r\\nHost: x\\r\\nX-Realplexor: identifier=%c\\r\\n"
                                     "Content-Length: %l\\r\\n\\r\\n\"%m\""
                                   : "POST / HTTP/1.1\\r\\nHost: x\\r\\nX-Realplexor: identifier=%c\\r\\n"
                                     "Content-Length: %l\\r\\nConnection: close\\r\\n\\r\\n\"%m\"";
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  read_options(argc, argv);
  in_address = address_of(options.in);
  common = shared(sizeof *common);
  message = memset(allocate(options.payload + 1), 'x', options.payload);
  double cpu = cpu_seconds(options.pid), start = now(), end = start + options.seconds;
  for (int me = 0; me < options.publishers; me++)
    if (!fork()) {
      if (options.window) pipelined(me, end);
      else one_by_one(me, end);
      exit(0);
    }
  while (wait(NULL) > 0) {}
  long sent = 0, failed = 0;
  for (int me = 0; me < options.publishers; me++) sent += common->sent[me], failed += common->failed[me];
  double took = now() - start;
  printf("{\"event\": \"published\", \"sent\": %ld, \"failed\": %ld, \"seconds\": %.6f, \"rate\": %.1f, \"cpu_s\": %.6f}\n",
         sent, failed, took, sent / took, cpu_seconds(options.pid) - cpu);
  return 0;
}
