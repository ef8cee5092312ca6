// ticker: one listener and one publisher of a channel of their own. Sends a numbered message every few milliseconds,
// whether the one before has arrived or not, so that a server that stands still is seen by every tick that falls into
// the pause. Prints one line of JSON: for each tick when it was due (CLOCK_MONOTONIC, seconds), and the milliseconds until the
// send was acknowledged and until the listener had it (-1: never).
#include "common.h"

#define BUFFER 65536
#define GRACE 1.0    // seconds that the last ticks may take
#define PRIORITY -15 // so that the crowd's client does not keep us from the processor; needs the right to, else not

typedef struct {
  double due, acknowledged, delivered;
} Tick;

static struct {
  const char *wait, *in, *channel;
  int subnet;
  double interval, seconds;
} options = {.channel = "ticker", .interval = 0.005, .seconds = 2};

static Tick *ticks;
static int sent, acknowledged, listener, publisher;
static char cursor[CURSOR_MAX];

static void poll_again(void) {
  char request[512];
  int length = snprintf(request, sizeof request, "GET /?identifier=%s:%s HTTP/1.1\r\nHost: x\r\n\r\n", cursor, options.channel);
  if (!send_all(listener, request, length)) fail("ticker: the listener's connection broke");
}

static void tick(void) {
  char request[512], body[32];
  int bytes = snprintf(body, sizeof body, "\"tick%d.\"", sent);
  int length = snprintf(request, sizeof request,
                        "POST / HTTP/1.1\r\nHost: x\r\nX-Realplexor: identifier=%s\r\nContent-Length: %d\r\n\r\n%s",
                        options.channel, bytes, body);
  if (!send_all(publisher, request, length)) fail("ticker: the publisher's connection broke");
  sent++;
}

static size_t receive(int fd, char *buffer, size_t kept) {
  ssize_t received = recv(fd, buffer + kept, BUFFER - kept, 0);
  if (received <= 0) fail("ticker: the server closed a connection");
  buffer[kept + received] = 0;
  return kept + received;
}

// Acknowledgements come in the order of the sends, one head each.
static void read_acknowledgements(void) {
  static char buffer[BUFFER + 1];
  static size_t kept;
  static const char head[] = "HTTP/1.1 200";
  double at = now();
  size_t length = receive(publisher, buffer, kept);
  char *from = buffer;
  for (char *found; (found = strstr(from, head)); from = found + sizeof head - 1)
    if (acknowledged < sent) ticks[acknowledged++].acknowledged = at;
  size_t rest = buffer + length - from;
  kept = rest < sizeof head - 2 ? rest : sizeof head - 2;
  memmove(buffer, buffer + length - kept, kept);
}

// One whole answer: head, Content-Length, body. Its messages are marked, its last cursor is where the next poll begins.
static void read_answer(void) {
  static char buffer[BUFFER + 1];
  static size_t length;
  double at = now();
  length = receive(listener, buffer, length);
  char *body = strstr(buffer, "\r\n\r\n"), *size = strcasestr(buffer, "\r\nContent-Length: ");
  if (!body || !size || buffer + length < body + 4 + atoi(size + 18)) return;
  for (char *found = body; (found = strstr(found, "\"tick")); found++) {
    int number = atoi(found + 5);
    if (number >= 0 && number < sent && !ticks[number].delivered) ticks[number].delivered = at;
  }
  for (char *found = body; (found = strstr(found, "\": \"")); found++)
    if (strchr("0123456789", found[4])) sscanf(found + 4, "%39[0-9.]", cursor);
  length = 0;
  poll_again();
}

static int left_to_come(void) {
  if (acknowledged < sent) return 1;
  for (int i = sent - 1; i >= 0 && i > sent - 100; i--)
    if (!ticks[i].delivered) return 1;
  return 0;
}

static void run(int count) {
  int poller = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[2];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  event.data.fd = publisher;
  epoll_ctl(poller, EPOLL_CTL_ADD, publisher, &event);
  double start = now() + options.interval, end = start + options.seconds + GRACE;
  for (int i = 0; i < count; i++) ticks[i].due = start + i * options.interval;
  while (now() < end && (sent < count || left_to_come())) {
    while (sent < count && now() >= ticks[sent].due) tick();
    double next = sent < count ? ticks[sent].due : end;
    struct timespec wait = {.tv_nsec = next > now() ? (long)((next - now()) * 1e9) % 1000000000 : 0};
    int ready = epoll_pwait2(poller, events, 2, &wait, NULL);
    for (int i = 0; i < ready; i++)
      if (events[i].data.fd == publisher) read_acknowledgements();
      else read_answer();
  }
}

static double milliseconds(double due, double at) { return at ? (at - due) * 1e3 : -1; }

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  for (int option; (option = getopt(argc, argv, "w:i:g:e:t:a:")) != -1;) switch (option) {
    case 'w': options.wait = optarg; break;                   // HOST:PORT of listeners
    case 'i': options.in = optarg; break;                     // HOST:PORT of publishing
    case 'g': options.channel = optarg; break;
    case 'e': options.interval = atof(optarg) / 1000; break;  // milliseconds between two ticks
    case 't': options.seconds = atof(optarg); break;
    case 'a': options.subnet = atoi(optarg); break;           // connect from 127.0.SUBNET.*; 0: from anywhere
    default: exit(2);
  }
  if (!options.wait || !options.in || options.interval <= 0) fail("ticker needs -w and -i HOST:PORT, and -e above 0");
  if (setpriority(PRIO_PROCESS, 0, PRIORITY)) errno = 0;
  int count = options.seconds / options.interval;
  ticks = allocate(sizeof *ticks * (count + 1));
  listener = connected(address_of(options.wait), options.subnet, 200);
  publisher = connected(address_of(options.in), options.subnet, 201);
  if (listener < 0 || publisher < 0) fail("ticker: cannot connect to %s and %s", options.wait, options.in);
  snprintf(cursor, sizeof cursor, "%.6f", wall());
  poll_again();
  run(count);
  printf("{\"event\": \"ticked\", \"ticks\": [");
  for (int i = 0; i < sent; i++)
    printf("%s[%.6f, %.3f, %.3f]", i ? ", " : "", ticks[i].due, milliseconds(ticks[i].due, ticks[i].acknowledged),
           milliseconds(ticks[i].due, ticks[i].delivered));
  printf("]}\n");
  return 0;
}
