// load: opens many listeners by long polls, event streams or WebSockets, publishes, and times every delivery. Requests are templates (see common.h), so
// that one client measures every server. Each step ends with one line of JSON on stdout:
//   {"event": "parked", ...}      all listeners are in
//   {"event": "delivered", ...}   the message has reached them, with 101 quantiles of the time it took
// With -h it goes on from each line when it reads a line on stdin, so that the server can be looked at meanwhile.
#include "common.h"
#include <sys/prctl.h>

#define PROCESSES_MAX 64
#define IN_FLIGHT 256         // connections that a process opens at once
#define PER_SOURCE 15000      // connections from one source address, of its 28,000 ports
#define TAIL 64               // bytes kept of what came before, to find what a segment's end has cut
#define BUFFER 65536
#define SPARE_DESCRIPTORS 50
#define PATIENCE 10           // milliseconds that a process of listeners sleeps at most
#define STILL 0.030           // seconds without CPU time after which a server counts as idle
#define STIRRED 0.00002       // CPU seconds in two milliseconds that count as work

enum state { CONNECTING, ASKED, ENTERED, GOT, GONE };

typedef struct {
  int fd, number, tail_length;
  enum state state;
  char cursor[CURSOR_MAX], tail[TAIL];
} Listener;

enum step { WAITING, LISTEN, ABORT, END };

// Connections end with a message, poll again, or have one message after the other.
enum mode { CLOSE, KEEP, STREAM, SOCKET };

static const char *const requests[] = {
    [CLOSE] = "GET /?identifier=%u:%c HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n",
    [KEEP] = "GET /?identifier=%u:%c HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
    [STREAM] = "GET /?identifier=%u:%c HTTP/1.1\\r\\nHost: x\\r\\nAccept: text/event-stream\\r\\n\\r\\n",
    [SOCKET] = "GET /?identifier=%u:%c HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
               "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"};

static struct {
  const char *wait, *in, *request, *publish, *prefix;
  int listeners, channels, messages, payload, processes, subnet, pid, primed, head, hold, half_close;
  enum mode mode;
  double settle, timeout;
} options = {
    .prefix = "c", .listeners = 1000, .channels = 1, .messages = 1, .payload = 64, .primed = 1, .head = 1,
    .half_close = 1, .settle = 0.3, .timeout = 60,
    .publish = "POST / HTTP/1.1\\r\\nHost: x\\r\\nX-Realplexor: identifier=%c\\r\\nContent-Length: %l\\r\\n"
               "Connection: close\\r\\n\\r\\n\"%m\""};

// written by the children, one slot each, but round, step, busy and cursor, which the parent writes
static struct {
  volatile int round, step, busy, entered[PROCESSES_MAX], done[PROCESSES_MAX], failed[PROCESSES_MAX];
  volatile int duplicates[PROCESSES_MAX], finished[PROCESSES_MAX];
  char cursor[CURSOR_MAX];
} *common;
static double *delivered; // when each listener got this round's message; 0: not
static Address wait_address, in_address;
static char mark[40];     // the end of this round's message
static int me, poller;    // of a child: which it is, its epoll

static void mark_round(int parent, int round) { snprintf(mark, sizeof mark, "M%d.%d.", parent, round); }

static int total(volatile int *counts) {
  int sum = 0;
  for (int i = 0; i < options.processes; i++) sum += counts[i];
  return sum;
}

// --- a child: its share of the listeners ---

static void enter(Listener *listener) {
  listener->state = ENTERED;
  common->entered[me]++;
}

static void leave(Listener *listener) {
  if (listener->fd >= 0) close(listener->fd); // takes it out of the epoll, too
  listener->fd = -1;
  if (listener->state < ENTERED) enter(listener);
  if (listener->state == ENTERED) common->done[me]++;
  listener->state = GONE;
}

static void lose(Listener *listener) {
  common->failed[me]++;
  leave(listener);
}

static int ask(Listener *listener) {
  Values values = {.prefix = options.prefix, .cursor = listener->cursor, .number = listener->number,
                   .channel = listener->number % options.channels};
  char *request = expand(options.request, values);
  return send(listener->fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request);
}

static void open_listener(Listener *listener) {
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = listener};
  listener->state = CONNECTING;
  listener->tail_length = 0;
  memcpy(listener->cursor, common->cursor, sizeof listener->cursor);
  listener->fd = open_socket(wait_address, SOCK_NONBLOCK, options.subnet, 2 + listener->number / PER_SOURCE);
  if (listener->fd < 0) lose(listener);
  else if (connect_to(listener->fd, wait_address, SOCK_NONBLOCK)) lose(listener);
  else epoll_ctl(poller, EPOLL_CTL_ADD, listener->fd, &event);
}

static void writable(Listener *listener) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
  if (!ask(listener)) { lose(listener); return; }
  epoll_ctl(poller, EPOLL_CTL_MOD, listener->fd, &event);
  listener->state = ASKED;
  if (!options.head) enter(listener);
}

// Takes the cursor from an answer's `"ids": { "c0": "12.5"`: from there the next poll goes on.
static void note_cursor(Listener *listener, const char *data, size_t length) {
  const char *end = data + length, *at = memmem(data, length, "\": \"", 4);
  if (!at || at + 4 == end || !strchr("0123456789", at[4])) return;
  size_t digits = strspn(at + 4, "0123456789.");
  if (digits >= CURSOR_MAX || at + 4 + digits >= end) return;
  memcpy(listener->cursor, at + 4, digits);
  listener->cursor[digits] = 0;
}

static void got_message(Listener *listener) {
  if (listener->state == GOT) { common->duplicates[me]++; return; }
  delivered[listener->number] = now();
  listener->state = GOT;
  common->done[me]++;
  if (options.mode == KEEP && !ask(listener)) lose(listener);
}

static void readable(Listener *listener) {
  static char buffer[TAIL + BUFFER + 1];
  char *fresh = buffer + TAIL, *from = fresh - listener->tail_length;
  ssize_t received = recv(listener->fd, fresh, BUFFER, 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0) {
    // In close mode the end is part of the answer; anything else is a listener that was let down.
    if (listener->state == GOT && options.mode == CLOSE) leave(listener);
    else lose(listener);
    return;
  }
  if (listener->state == ASKED) enter(listener);
  memcpy(from, listener->tail, listener->tail_length);
  fresh[received] = 0;
  size_t length = fresh + received - from, mark_length = strlen(mark);
  if (options.mode == KEEP) note_cursor(listener, from, length);
  for (char *at; (at = memmem(from, length, mark, mark_length)); length -= at + mark_length - from, from = at + mark_length)
    got_message(listener);
  if (listener->fd < 0) return;
  listener->tail_length = length < TAIL ? length : TAIL;
  memcpy(listener->tail, from + length - listener->tail_length, listener->tail_length);
}

// one round: all come in, wait and get the message, until the parent ends it
static void listen_round(Listener *listeners, int count, int opened) {
  struct epoll_event events[512];
  int next = opened ? count : 0;
  while (common->step == LISTEN) {
    for (; next < count && next - common->entered[me] < IN_FLIGHT; next++) open_listener(&listeners[next]);
    // A send to who sleeps has to wake him, which the server pays for here and nowhere else: 2 to 4 of 10 us, if it is
    // slower than the listeners, and nothing if it is not.
    int ready = epoll_wait(poller, events, 512, common->busy ? 0 : PATIENCE);
    for (int i = 0; i < ready; i++) {
      Listener *listener = events[i].data.ptr;
      if (listener->fd < 0) continue;
      if (listener->state == CONNECTING) writable(listener);
      else readable(listener);
    }
  }
}

static void child(int which, int parent) {
  int share = options.listeners / options.processes, more = options.listeners % options.processes;
  int count = share + (which < more), first = which * share + (which < more ? which : more);
  Listener *listeners = allocate(sizeof *listeners * count);
  me = which;
  poller = epoll_create1(0);
  for (int i = 0; i < count; i++) listeners[i] = (Listener){.number = first + i, .fd = -1, .state = GONE};
  for (int round = 0; round < options.messages; round++) {
    while (common->round != round || common->step != LISTEN) usleep(NAP);
    int opened = options.mode != CLOSE && round > 0;
    mark_round(parent, round);
    for (int i = 0; i < count && opened; i++)
      if (listeners[i].fd >= 0) enter(&listeners[i]);
      else { listeners[i].state = CONNECTING; lose(&listeners[i]); }
    listen_round(listeners, count, opened);
    for (int i = 0; i < count && (options.mode == CLOSE || common->step == ABORT); i++) {
      if (listeners[i].fd >= 0) close(listeners[i].fd);
      listeners[i] = (Listener){.number = first + i, .fd = -1, .state = GONE};
    }
    common->finished[me] = 1;
  }
  exit(0);
}

// --- the parent: publishes, counts, reports ---

// Publishes to one channel and remembers the receipt's cursor, from which later polls begin.
static int publish(int channel, const char *message) {
  char answer[4096], cursor[CURSOR_MAX];
  Values values = {.prefix = options.prefix, .cursor = common->cursor, .message = message, .channel = channel};
  if (!ask_once(in_address, options.subnet, 1, expand(options.publish, values), options.half_close, answer, sizeof answer))
    return 0;
  char *body = strstr(answer, "\r\n\r\n");
  if (body && sscanf(body + 4, "%*s %39[0-9.]", cursor) == 1) strcpy(common->cursor, cursor);
  else snprintf(common->cursor, CURSOR_MAX, "%.6f", wall());
  return 1;
}

// Waits until the server's CPU time stands still; gives the time at which it last moved, or now if nothing is known.
static double when_idle(void) {
  double used = cpu_seconds(options.pid), at = now();
  while (options.pid && now() - at < STILL) {
    usleep(2000);
    double more = cpu_seconds(options.pid);
    if (more > used + STIRRED) used = more, at = now();
  }
  return at;
}

static void say_and_hold(void) {
  char line[16];
  printf("}\n");
  fflush(stdout);
  if (options.hold && !fgets(line, sizeof line, stdin)) fail("stdin ended");
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

// Prints the quantiles 0, 0.01, ... 1 of the delivery times in milliseconds; gives the time of the last delivery.
static double print_latency(const double *published) {
  double *times = allocate(sizeof *times * options.listeners), last = 0;
  int count = 0;
  for (int i = 0; i < options.listeners; i++) {
    if (delivered[i] > 0) times[count++] = delivered[i] - published[i % options.channels];
    if (delivered[i] > last) last = delivered[i];
  }
  qsort(times, count, sizeof *times, ascending);
  printf(", \"delivered\": %d, \"latency_ms\": [", count);
  for (int i = 0; i <= 100 && count; i++) printf("%s%.3f", i ? ", " : "", times[(long)(count - 1) * i / 100] * 1e3);
  printf("]");
  free(times);
  return last;
}

static void park(int round) {
  double before = cpu_seconds(options.pid), start = now();
  memset(delivered, 0, sizeof *delivered * options.listeners);
  for (int i = 0; i < options.processes; i++)
    common->entered[i] = common->done[i] = common->failed[i] = common->duplicates[i] = common->finished[i] = 0;
  common->round = round;
  common->step = LISTEN;
  while (total(common->entered) < options.listeners && now() - start < options.timeout) usleep(NAP);
  double entered = now() - start, idle = when_idle() - start;
  printf("{\"event\": \"parked\", \"round\": %d, \"entered\": %d, \"failed\": %d, \"enter_s\": %.6f, \"idle_s\": %.6f, "
         "\"cpu_s\": %.6f", round, total(common->entered), total(common->failed), entered, idle,
         cpu_seconds(options.pid) - before);
  say_and_hold();
}

static void deliver(int round, char *message, double *published) {
  mark_round(getpid(), round);
  memset(message, 'x', options.payload);
  memcpy(message + options.payload - strlen(mark), mark, strlen(mark));
  usleep(options.settle * 1e6);
  double before = cpu_seconds(options.pid);
  int unpublished = 0;
  common->busy = options.mode >= STREAM;
  for (int i = 0; i < options.channels; i++) {
    published[i] = now();
    unpublished += !publish(i, message);
  }
  double sent = now();
  while (total(common->done) < options.listeners && now() - published[0] < options.timeout) usleep(NAP);
  common->busy = 0;
  double idle = when_idle();
  printf("{\"event\": \"delivered\", \"round\": %d", round);
  double last = print_latency(published);
  printf(", \"failed\": %d, \"duplicates\": %d, \"unpublished\": %d, \"published_at\": %.6f, \"publish_s\": %.6f, "
         "\"deliver_s\": %.6f, \"cycle_s\": %.6f, \"cpu_s\": %.6f", total(common->failed), total(common->duplicates),
         unpublished, published[0], sent - published[0], last ? last - published[0] : 0, idle - published[0],
         cpu_seconds(options.pid) - before);
  int late = total(common->done) < options.listeners;
  common->step = late ? ABORT : END;
  for (int i = 0; i < options.processes; i++)
    while (!common->finished[i]) usleep(NAP);
  say_and_hold();
}

static enum mode mode_of(const char *name) {
  static const char *const names[] = {[CLOSE] = "close", [KEEP] = "keepalive", [STREAM] = "stream", [SOCKET] = "websocket"};
  for (int mode = CLOSE; mode <= SOCKET; mode++)
    if (!strcmp(name, names[mode])) return mode;
  fail("-M is close, keepalive, stream or websocket, not %s", name);
}

static void read_options(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "w:i:q:p:g:n:c:m:b:k:a:x:y:M:H:hS:s:t:")) != -1;) switch (option) {
    case 'w': options.wait = optarg; break;              // HOST:PORT of listeners
    case 'i': options.in = optarg; break;                // HOST:PORT of publishing
    case 'q': options.request = optarg; break;           // template of a poll
    case 'p': options.publish = optarg; break;           // template of a send
    case 'g': options.prefix = optarg; break;            // channels are PREFIX0, PREFIX1, ...
    case 'n': options.listeners = atoi(optarg); break;
    case 'c': options.channels = atoi(optarg); break;
    case 'm': options.messages = atoi(optarg); break;    // messages, one after another, to each channel
    case 'b': options.payload = atoi(optarg); break;     // bytes of a message without its quotes
    case 'k': options.processes = atoi(optarg); break;   // processes; 0: as many as descriptors ask for
    case 'a': options.subnet = atoi(optarg); break;      // connect from 127.0.SUBNET.*; 0: from anywhere
    case 'x': options.pid = atoi(optarg); break;         // the server's process, to know when it is idle
    case 'y': options.primed = atoi(optarg); break;      // messages published before anybody listens
    case 'M': options.mode = mode_of(optarg); break;
    case 'H': options.head = atoi(optarg); break;        // 1: a listener has entered when an answer's head is there
    case 'h': options.hold = 1; break;                   // go on from each line by a line on stdin
    case 'S': options.half_close = atoi(optarg); break;  // 1: half-close behind a send
    case 's': options.settle = atof(optarg); break;      // seconds between parked and publishing
    case 't': options.timeout = atof(optarg); break;     // seconds that a step may take
    default: exit(2);
  }
  if (!options.wait || !options.in) fail("load needs -w HOST:PORT and -i HOST:PORT");
  if (options.listeners < 1 || options.channels < 1 || options.messages < 1) fail("-n, -c and -m must be at least 1");
  mark_round(getpid(), options.messages);
  if (options.payload < (int)strlen(mark)) fail("-b must be at least %zu", strlen(mark));
  if (options.mode == KEEP) options.head = 0; // a kept poll gets its head together with the message
  if (!options.request) options.request = requests[options.mode];
}

static void spread(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int most = files.rlim_cur > 1 << 20 ? 1 << 20 : files.rlim_cur - SPARE_DESCRIPTORS;
  if (!options.processes) options.processes = 1 + (options.listeners - 1) / most;
  if (options.processes > PROCESSES_MAX || (options.listeners - 1) / options.processes >= most)
    fail("%d processes with %d descriptors each cannot hold %d listeners", options.processes, most, options.listeners);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  read_options(argc, argv);
  spread();
  wait_address = address_of(options.wait);
  in_address = address_of(options.in);
  common = shared(sizeof *common);
  delivered = shared(sizeof *delivered * options.listeners);
  snprintf(common->cursor, CURSOR_MAX, "%.6f", wall());
  for (int i = 0; i < options.primed; i++)
    if (!publish(i % options.channels, "first")) fail("%s did not take a message", options.in);
  int parent = getpid();
  for (int i = 0; i < options.processes; i++)
    if (!fork()) {
      prctl(PR_SET_PDEATHSIG, SIGKILL); // no listener outlives who publishes
      child(i, parent);
    }
  char *message = allocate(options.payload + 1);
  double *published = allocate(sizeof *published * options.channels);
  for (int round = 0; round < options.messages; round++) {
    park(round);
    deliver(round, message, published);
  }
  while (wait(NULL) > 0) {}
  return 0;
}
