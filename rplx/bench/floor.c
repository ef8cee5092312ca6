// floor: the least that a push server can do on this kernel: one epoll loop, no history, no presence, no parsing beyond
// the channel. What it reaches is the machine's limit for one core. A channel is the number at the end of a poll's last id.
//
//   floor WAITPORT INPORT     port 0: chosen by the kernel; both are printed when it listens
//
// A poll with "Connection: close" gets its head at once and its end with the message; any other gets head and body together
// and its connection stays. An event stream gets its head at once and each message as a chunk, a WebSocket as a text frame:
// one send a listener. A send is answered with a receipt, and stays connected unless it says "Connection: close".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHANNELS 65536
#define BUFFER 262144
#define HEAD                                                                                        \
  "HTTP/1.1 200 OK\r\nCache-Control: no-store, no-cache, must-revalidate\r\n"                       \
  "Expires: Mon, 26 Jul 1997 05:00:00 GMT\r\nContent-Type: text/javascript; charset=utf-8\r\n"

#define SOCKET_ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // to the key of the example in RFC 6455, which load sends

enum kind { WAIT_PORT, IN_PORT, WAIT, IN, PARKED, DROPPED };

enum form { KEPT, CLOSED, STREAM, SOCKET, FORMS };

typedef struct Connection {
  int fd;
  enum kind kind;
  enum form form; // of what it is sent
  struct Connection *next, **link; // parked: the next of its channel, and what points to this one
  char *rest; // of IN: the beginning of a request whose end has not come yet
  size_t rest_length;
} Connection;

static const char *const heads[FORMS] = {
    [CLOSED] = HEAD "Connection: close\r\n\r\n \r\n",
    [STREAM] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
               "Transfer-Encoding: chunked\r\n\r\n",
    [SOCKET] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: " SOCKET_ANSWER "\r\n\r\n"};
static Connection *parked[CHANNELS], *streaming[CHANNELS], *dropped;
static int poller;

static void watch(int fd, Connection *connection) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void listening(const char *port, enum kind kind) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) {
    perror("floor: bind");
    exit(1);
  }
  getsockname(fd, (void *)&address, &length);
  printf("%s: listening 127.0.0.1:%d\n", kind == WAIT_PORT ? "WAIT" : "IN", ntohs(address.sin_port));
  Connection *connection = calloc(1, sizeof *connection);
  *connection = (Connection){.fd = fd, .kind = kind};
  watch(fd, connection);
}

static void accept_all(Connection *port) {
  for (int fd; (fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    Connection *connection = malloc(sizeof *connection);
    *connection = (Connection){.fd = fd, .kind = port->kind + 2};
    watch(fd, connection);
  }
}

// Closes it now and frees it behind the batch of events, one of which may still point to it.
static void drop(Connection *connection) {
  close(connection->fd);
  connection->kind = DROPPED;
  connection->next = dropped;
  dropped = connection;
}

static void free_dropped(void) {
  for (Connection *connection; (connection = dropped);) {
    dropped = connection->next;
    free(connection->rest);
    free(connection);
  }
}

// The last id of "identifier=CURSOR:ID,..."; *length is its length, 0 if there is none.
static const char *last_id(const char *request, size_t *length) {
  const char *marker = strstr(request, "identifier="), *id, *end;
  *length = 0;
  if (!marker) return NULL;
  id = marker += 11;
  end = marker + strcspn(marker, " \r\n");
  for (const char *at = marker; at < end; at++)
    if (*at == ':' || *at == ',') id = at + 1;
  *length = end - id;
  return id;
}

static int channel_of(const char *id, size_t length) {
  int number = 0;
  size_t digits = length;
  while (digits && id[digits - 1] >= '0' && id[digits - 1] <= '9') digits--;
  for (; digits < length; digits++) number = (number * 10 + id[digits] - '0') % CHANNELS;
  return number;
}

static enum form form_of(const char *request) {
  if (strstr(request, "\r\nConnection: close\r\n")) return CLOSED;
  if (strstr(request, "\r\nAccept: text/event-stream\r\n")) return STREAM;
  return strstr(request, "\r\nUpgrade: websocket\r\n") ? SOCKET : KEPT;
}

static void park(Connection *connection, const char *request) {
  size_t length;
  const char *id = last_id(request, &length);
  if (!length) { drop(connection); return; }
  int channel = channel_of(id, length);
  connection->form = form_of(request);
  const char *head = heads[connection->form];
  if (head) send(connection->fd, head, strlen(head), MSG_NOSIGNAL);
  Connection **first = connection->form >= STREAM ? &streaming[channel] : &parked[channel];
  connection->kind = PARKED;
  connection->next = *first;
  connection->link = first;
  if (connection->next) connection->next->link = &connection->next;
  *first = connection;
}

static void unpark(Connection *connection) {
  *connection->link = connection->next;
  if (connection->next) connection->next->link = connection->link;
}

static void deliver(int channel, const char *body, int length) {
  static char kept[BUFFER + 1024];
  int head = sprintf(kept, HEAD "Content-Length: %d\r\n\r\n \r\n", length + 3);
  memcpy(kept + head, body, length);
  Connection *next, *connection = parked[channel];
  for (parked[channel] = NULL; connection; connection = next) {
    next = connection->next;
    if (connection->form == CLOSED) {
      send(connection->fd, body, length, MSG_NOSIGNAL);
      shutdown(connection->fd, SHUT_RDWR);
      drop(connection);
    } else {
      send(connection->fd, kept, head + length, MSG_NOSIGNAL);
      connection->kind = WAIT;
    }
  }
}

// One message to all streams of a channel, which stay.
static void deliver_on(int channel, const char *cursor, const char *json, int length) {
  static char chunk[BUFFER + 1024], frame[BUFFER + 1024];
  int event = sizeof "id: :*\ndata: \n\n" - 1 + strlen(cursor) + length, header;
  int chunk_length = sprintf(chunk, "%x\r\nid: %s:*\ndata: %s\n\n\r\n", event, cursor, json);
  if (length < 126) header = sprintf(frame, "\x81%c", length);
  else if (length < 65536) header = sprintf(frame, "\x81\x7e%c%c", length >> 8, length & 255);
  else header = sprintf(frame, "\x81\x7f%c%c%c%c%c%c%c%c", 0, 0, 0, 0, 0, length >> 16, length >> 8 & 255, length & 255);
  memcpy(frame + header, json, length);
  for (Connection *connection = streaming[channel]; connection; connection = connection->next)
    if (connection->form == STREAM) send(connection->fd, chunk, chunk_length, MSG_NOSIGNAL);
    else send(connection->fd, frame, header + length, MSG_NOSIGNAL);
}

// One send: delivers it and writes its receipt to `answer`; gives the receipt's length.
static int take(const char *request, const char *message, int length, char *answer) {
  static char body[BUFFER + 512];
  char cursor[32], receipt[256];
  struct timespec t;
  size_t id_length;
  const char *id = last_id(request, &id_length);
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(cursor, sizeof cursor, "%ld.%06ld", (long)t.tv_sec, t.tv_nsec / 1000);
  int receipt_length = snprintf(receipt, sizeof receipt, "%.*s %s\n", (int)id_length, id ? id : "", cursor);
  int channel = channel_of(id, id_length);
  if (parked[channel]) {
    int bytes = sprintf(body, "[\n  {\n    \"ids\": { \"%.*s\": \"%s\" },\n    \"data\": %.*s\n  }\n]", (int)id_length,
                        id ? id : "", cursor, length, message);
    deliver(channel, body, bytes);
  }
  if (streaming[channel]) {
    int bytes = sprintf(body, "{\"ids\":{\"%.*s\":\"%s\"},\"data\":%.*s}", (int)id_length, id ? id : "", cursor, length, message);
    deliver_on(channel, cursor, body, bytes);
  }
  return sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", receipt_length, receipt);
}

// All whole sends that have come on this connection; an unfinished one is kept for later.
static void take_all(Connection *connection, char *data, size_t length) {
  static char answers[BUFFER * 2], whole[2 * BUFFER + 1];
  size_t answered = 0;
  int closes = 0;
  if (connection->rest) memcpy(whole, connection->rest, connection->rest_length);
  memcpy(whole + connection->rest_length, data, length);
  length += connection->rest_length;
  whole[length] = 0;
  char *request = whole, *blank;
  while ((blank = strstr(request, "\r\n\r\n"))) {
    char *message = blank + 4, *size, *close;
    blank[2] = 0; // the head ends here for the searches below
    size = strstr(request, "Content-Length: ");
    close = strstr(request, "Connection: close");
    int bytes = size ? atoi(size + 16) : (int)(whole + length - message);
    if (message + bytes > whole + length) { blank[2] = '\r'; break; }
    answered += take(request, message, bytes, answers + answered);
    closes = close || !size;
    request = message + bytes;
    if (answered > sizeof answers - 1024) break;
  }
  if (answered) send(connection->fd, answers, answered, MSG_NOSIGNAL);
  if (closes) { drop(connection); return; }
  free(connection->rest);
  connection->rest_length = whole + length - request;
  connection->rest = NULL;
  if (connection->rest_length)
    connection->rest = memcpy(malloc(connection->rest_length), request, connection->rest_length);
}

static void readable(Connection *connection) {
  static char data[BUFFER + 1];
  if (connection->kind == DROPPED) return;
  if (connection->kind <= IN_PORT) { accept_all(connection); return; }
  ssize_t length = recv(connection->fd, data, BUFFER, 0);
  if (length <= 0) {
    if (connection->kind == PARKED) unpark(connection);
    drop(connection);
    return;
  }
  data[length] = 0;
  if (connection->kind == WAIT) park(connection, data);
  else if (connection->kind == IN) take_all(connection, data, length);
}

int main(int argc, char **argv) {
  struct epoll_event events[512];
  if (argc != 3) {
    fprintf(stderr, "usage: floor WAITPORT INPORT\n");
    return 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(0);
  listening(argv[1], WAIT_PORT);
  listening(argv[2], IN_PORT);
  fflush(stdout);
  for (;;) {
    int ready = epoll_wait(poller, events, 512, -1);
    for (int i = 0; i < ready; i++) readable(events[i].data.ptr);
    free_dropped();
  }
}
