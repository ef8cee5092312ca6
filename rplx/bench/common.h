// What the bench tools share: clocks, addresses, request templates, sockets, the server's CPU time.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function" // no tool needs all of it

#define CURSOR_MAX 40      // characters of a cursor's text
#define RECEIVE_TIMEOUT 10 // seconds that a blocking read of an answer may take
#define NAP 200            // microseconds between two looks at what other processes do

typedef struct {
  union { struct sockaddr any; struct sockaddr_in ip; struct sockaddr_un path; } to;
  socklen_t length;
} Address;

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static double now(void) { return seconds(CLOCK_MONOTONIC); }
static double wall(void) { return seconds(CLOCK_REALTIME); }

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(2);
}

static void *allocate(size_t bytes) {
  void *memory = calloc(1, bytes);
  if (!memory) fail("out of memory");
  return memory;
}

// memory that the children of this process write and it reads
static void *shared(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("out of memory");
  return memory;
}

// IPv4 HOST:PORT, or unix:/PATH
static Address address_of(const char *text) {
  char host[64];
  int port;
  Address address = {.length = sizeof address.to.ip, .to.ip.sin_family = AF_INET};
  if (!strncmp(text, "unix:", 5)) {
    address = (Address){.length = sizeof address.to.path, .to.path.sun_family = AF_UNIX};
    size_t size = sizeof address.to.path.sun_path;
    if ((size_t)snprintf(address.to.path.sun_path, size, "%s", text + 5) >= size) fail("too long a path: %s", text);
    return address;
  }
  if (sscanf(text, "%63[^:]:%d", host, &port) != 2 || inet_pton(AF_INET, host, &address.to.ip.sin_addr) != 1)
    fail("not an IPv4 address and port: %s", text);
  address.to.ip.sin_port = htons(port);
  return address;
}

static int is_path(Address address) { return address.to.any.sa_family == AF_UNIX; }

// A socket that can be connected to an address. `subnet` 0: the kernel chooses where from. Else it comes from
// 127.0.subnet.host, because one source address has only the 28,000 ports of ip_local_port_range, and a port in TIME_WAIT
// is not to be met again.
static int open_socket(Address to, int flags, int subnet, int host) {
  // For a path connect() fails at once where the server's queue is full, unless the socket blocks: see connect_to.
  if (is_path(to)) return socket(AF_UNIX, SOCK_STREAM, 0);
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
  if (fd < 0) return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!subnet) return fd;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); // the port is chosen by connect, for the pair
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 | subnet << 8 | host)};
  if (bind(fd, (void *)&from, sizeof from) == 0) return fd;
  close(fd);
  return -1;
}

// Returns 0 if the socket is connected, or will be: then it is one that does not block.
static int connect_to(int fd, Address to, int flags) {
  if (connect(fd, &to.to.any, to.length)) return errno == EINPROGRESS ? 0 : -1;
  if (is_path(to) && flags & SOCK_NONBLOCK) return fcntl(fd, F_SETFL, O_NONBLOCK);
  return 0;
}

// a blocking connection, or -1
static int connected(Address to, int subnet, int host) {
  struct timeval limit = {.tv_sec = RECEIVE_TIMEOUT};
  int fd = open_socket(to, 0, subnet, host);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect_to(fd, to, 0) == 0) return fd;
  close(fd);
  return -1;
}

static int send_all(int fd, const char *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t sent = send(fd, data + done, length - done, MSG_NOSIGNAL);
    if (sent <= 0) return 0;
    done += sent;
  }
  return 1;
}

// What a template's places stand for: %c channel's number behind the prefix, %i number, %u cursor, %m message,
// %l the message's length with its two quotes; \r and \n are escapes.
typedef struct {
  const char *prefix, *cursor, *message;
  int channel, number;
} Values;

// `template` filled in; the result is good until the next call
static char *expand(const char *template, Values values) {
  static char *text;
  static size_t capacity;
  size_t message = values.message ? strlen(values.message) : 0;
  size_t need = strlen(template) * (strlen(values.prefix) + CURSOR_MAX) + message + 1;
  if (capacity < need) {
    free(text);
    text = allocate(capacity = need);
  }
  char *out = text;
  for (const char *in = template; *in; in++) {
    char kind = in[1];
    if (*in == '\\' && (kind == 'r' || kind == 'n')) *out++ = kind == 'r' ? '\r' : '\n';
    else if (*in != '%' || !kind || !strchr("ciulm", kind)) { *out++ = *in; continue; }
    else if (kind == 'c') out += sprintf(out, "%s%d", values.prefix, values.channel);
    else if (kind == 'i') out += sprintf(out, "%d", values.number);
    else if (kind == 'u') out += sprintf(out, "%s", values.cursor);
    else if (kind == 'l') out += sprintf(out, "%zu", message + 2);
    else out = mempcpy(out, values.message, message);
    in++;
  }
  *out = 0;
  return text;
}

// CPU seconds that the server has used (0: no process is known)
static double cpu_seconds(int pid) {
  char path[64];
  unsigned long long nanoseconds = 0;
  snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
  FILE *file = pid ? fopen(path, "r") : NULL;
  if (!file) return 0;
  if (fscanf(file, "%llu", &nanoseconds) != 1) nanoseconds = 0;
  fclose(file);
  return nanoseconds * 1e-9;
}

static void answer_of(int fd, char *answer, size_t capacity) {
  size_t length = 0;
  ssize_t received;
  while (length + 1 < capacity && (received = recv(fd, answer + length, capacity - 1 - length, 0)) > 0)
    length += received;
  answer[length] = 0;
}

// Sends one request on a connection of its own and reads the answer to its end. Returns 1 if it was done: 2xx, or the
// empty answer of the old protocol. `half_close`: end our half, as back-ends of the old protocol do.
static int ask_once(Address to, int subnet, int host, const char *request, int half_close, char *answer, size_t capacity) {
  int fd = connected(to, subnet, host);
  answer[0] = 0;
  if (fd < 0) return 0;
  int sent = send_all(fd, request, strlen(request));
  if (sent && half_close) shutdown(fd, SHUT_WR);
  if (sent) answer_of(fd, answer, capacity);
  struct linger reset = {.l_onoff = 1}; // no TIME_WAIT here: these connections are made by the thousand
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  return sent && (!answer[0] || !strncmp(answer, "HTTP/1.1 2", 10) || !strncmp(answer, "HTTP/1.0 2", 10));
}
