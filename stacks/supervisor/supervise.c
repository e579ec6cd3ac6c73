/*
 * First process of every container: starts the command, reaps what it leaves behind, hands on signals to its process group,
 * and meters its output before any other program sees it. Lines go into a ring file of fixed size that lies on the
 * container's own limited disk; the cell reads it at its own pace (packages/containers/src/output has the reader and the format).
 *
 *   supervise --ring FILE --rate BYTES_PER_SECOND -- COMMAND [ARGUMENT…]
 *
 * Build: cc -O2 -static -o supervise supervise.c   (static: LD_PRELOAD and the like of an app never reach it)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 4096
#define CHUNK_BYTES (32 * 1024)
#define LINE_BYTES (60 * 1024)
#define BATCH_BYTES (128 * 1024)
#define SECOND 1000000000LL

/* However small its lines are, an instance may not cost the cell more than this many a second. */
#define LINES_PER_SECOND 10000
/* Unlimited output is slowed down instead of dropped, after a burst. */
#define UNLIMITED_LINE_BURST 100000
#define UNLIMITED_BYTE_BURST (16LL * 1024 * 1024)
#define UNLIMITED_BYTES_PER_SECOND (4LL * 1024 * 1024)
/* What is dropped is still read, fast enough for any program and slow enough to cost next to nothing. */
#define LIMITED_BYTE_BURST (64LL * 1024 * 1024)
#define LIMITED_BYTES_PER_SECOND (16LL * 1024 * 1024)

typedef struct {
  double tokens, burst, per_second;
  int64_t at;
} bucket;

typedef struct {
  int fd;
  char stream;
  char text[LINE_BYTES];
  size_t length;
  int discarding; /* the line at hand began while output was being dropped */
} source;

static int ring_fd = -1;
static uint64_t ring_capacity, ring_head;
static char batch[BATCH_BYTES];
static size_t batch_length;
static int64_t last_timestamp;
static long long rate = -1;
static bucket byte_bucket, line_bucket, read_bucket;
static int64_t drop_until;
static source out_source = {.fd = -1, .stream = 'O'}, err_source = {.fd = -1, .stream = 'E'};

static int64_t clock_ns(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "supervise: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static void bucket_set(bucket *b, double burst, double per_second, int64_t now) {
  b->tokens = b->burst = burst;
  b->per_second = per_second;
  b->at = now;
}

static void bucket_refill(bucket *b, int64_t now) {
  b->tokens += (double)(now - b->at) * b->per_second / 1e9;
  if (b->tokens > b->burst) b->tokens = b->burst;
  b->at = now;
}

static void ring_write(const char *data, size_t length) {
  while (length > 0) {
    uint64_t at = ring_head % ring_capacity;
    size_t part = length < ring_capacity - at ? length : (size_t)(ring_capacity - at);
    ssize_t written = pwrite(ring_fd, data, part, (off_t)(HEADER_BYTES + at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return; /* the disk is broken; the app shall not die of its log */
    ring_head += (uint64_t)written;
    data += written;
    length -= (size_t)written;
  }
}

static void batch_flush(void) {
  if (batch_length == 0) return;
  ring_write(batch, batch_length);
  batch_length = 0;
  /* Readers trust the head only, so it follows the data. */
  while (pwrite(ring_fd, &ring_head, sizeof ring_head, 16) < 0 && errno == EINTR) {
  }
}

static void record(char stream, const char *text, size_t length) {
  char digits[24];
  size_t count = 0;
  int64_t now = clock_ns(CLOCK_REALTIME);
  if (now <= last_timestamp) now = last_timestamp + 1;
  last_timestamp = now;
  do digits[count++] = (char)('0' + now % 10);
  while ((now /= 10) > 0);
  if (batch_length + count + length + 4 > BATCH_BYTES) batch_flush();
  while (count > 0) batch[batch_length++] = digits[--count];
  batch[batch_length++] = ' ';
  batch[batch_length++] = stream;
  batch[batch_length++] = ' ';
  memcpy(batch + batch_length, text, length);
  batch_length += length;
  batch[batch_length++] = '\n';
}

static void exceeded(long long limit, const char *unit, int64_t now) {
  char text[128];
  int length = snprintf(text, sizeof text, "app instance exceeded log rate limit (%lld %s", limit, unit);
  record('O', text, (size_t)length);
  drop_until = now + SECOND;
}

static void line_end(source *s, int64_t now) {
  size_t length = s->length;
  s->length = 0;
  if (s->discarding || rate == 0 || now < drop_until) {
    s->discarding = 0;
    return;
  }
  if (length == 0) return;
  if (rate > 0) {
    bucket_refill(&byte_bucket, now);
    if (byte_bucket.tokens < (double)length) {
      exceeded(rate, "bytes/sec)", now);
      return;
    }
    byte_bucket.tokens -= (double)length;
    if (line_bucket.tokens < 1) {
      bucket_refill(&line_bucket, now);
      if (line_bucket.tokens < 1) {
        exceeded(LINES_PER_SECOND, "log-lines/sec) set by platform operator", now);
        return;
      }
    }
  }
  line_bucket.tokens -= 1;
  record(s->stream, s->text, length);
}

/* A line longer than a log envelope is cut, at the end of a character where there is one. */
static void line_full(source *s, int64_t now) {
  size_t keep = s->length, back = 0;
  while (back < 3 && back < keep && ((unsigned char)s->text[keep - 1 - back] & 0xC0) == 0x80) back++;
  if (back < keep) {
    unsigned char lead = (unsigned char)s->text[keep - 1 - back];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (wanted > back + 1) keep -= back + 1;
  }
  char rest[4];
  size_t rest_length = s->length - keep;
  memcpy(rest, s->text + keep, rest_length);
  s->length = keep;
  line_end(s, now);
  memcpy(s->text, rest, rest_length);
  s->length = rest_length;
}

static void feed(source *s, const char *data, size_t length, int64_t now) {
  while (length > 0) {
    if (rate == 0 || now < drop_until) {
      s->length = 0;
      s->discarding = data[length - 1] != '\n';
      return;
    }
    const char *end = memchr(data, '\n', length);
    size_t part = end ? (size_t)(end - data) : length;
    if (!s->discarding) {
      size_t taken = 0;
      while (taken < part) {
        size_t room = LINE_BYTES - s->length;
        size_t step = part - taken < room ? part - taken : room;
        memcpy(s->text + s->length, data + taken, step);
        s->length += step;
        taken += step;
        if (s->length == LINE_BYTES) line_full(s, now);
      }
    }
    if (!end) return;
    line_end(s, now);
    data = end + 1;
    length -= part + 1;
  }
}

/* Returns bytes read, 0 when nothing waits; closes the source at its end. */
static size_t pull(source *s, int64_t now) {
  static char chunk[CHUNK_BYTES];
  ssize_t got = read(s->fd, chunk, sizeof chunk);
  if (got > 0) {
    feed(s, chunk, (size_t)got, now);
    return (size_t)got;
  }
  if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    close(s->fd);
    s->fd = -1;
  }
  return 0;
}

static void drain(source *s) {
  size_t total = 0, got;
  while (s->fd >= 0 && total < (size_t)LIMITED_BYTE_BURST && (got = pull(s, clock_ns(CLOCK_MONOTONIC))) > 0) total += got;
  if (s->length > 0) line_end(s, clock_ns(CLOCK_MONOTONIC));
}

static void ring_open(const char *path) {
  char header[24];
  ring_fd = open(path, O_RDWR | O_CLOEXEC);
  if (ring_fd < 0) fail(path);
  if (pread(ring_fd, header, sizeof header, 0) != (ssize_t)sizeof header || memcmp(header, "BLMRING1", 8) != 0) {
    errno = EINVAL;
    fail(path);
  }
  memcpy(&ring_capacity, header + 8, 8);
  memcpy(&ring_head, header + 16, 8);
  if (ring_capacity < BATCH_BYTES) {
    errno = EINVAL;
    fail(path);
  }
}

int main(int argc, char **argv) {
  const char *ring_path = NULL;
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at += 2) {
    if (at + 1 >= argc) break;
    if (strcmp(argv[at], "--ring") == 0) ring_path = argv[at + 1];
    else if (strcmp(argv[at], "--rate") == 0) rate = strtoll(argv[at + 1], NULL, 10);
  }
  if (!ring_path || at + 1 >= argc) {
    fprintf(stderr, "usage: supervise --ring FILE --rate BYTES -- COMMAND…\n");
    return 125;
  }
  ring_open(ring_path);
  int64_t now = clock_ns(CLOCK_MONOTONIC);
  bucket_set(&byte_bucket, (double)(rate > 0 ? rate : 0), (double)(rate > 0 ? rate : 0), now);
  bucket_set(&line_bucket, rate < 0 ? UNLIMITED_LINE_BURST : LINES_PER_SECOND, LINES_PER_SECOND, now);
  if (rate < 0) bucket_set(&read_bucket, UNLIMITED_BYTE_BURST, UNLIMITED_BYTES_PER_SECOND, now);
  else bucket_set(&read_bucket, LIMITED_BYTE_BURST, LIMITED_BYTES_PER_SECOND, now);

  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) fail("pipe");
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    setsid();
    sigemptyset(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) dup2(null, 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    execvp(argv[at + 1], argv + at + 1);
    fprintf(stderr, "%s: %s\n", argv[at + 1], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
  }
  close(out[1]);
  close(err[1]);
  out_source.fd = out[0];
  err_source.fd = err[0];
  fcntl(out[0], F_SETFL, O_NONBLOCK);
  fcntl(err[0], F_SETFL, O_NONBLOCK);
  int signals = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signals < 0) fail("signalfd");

  int status = 0, ended = 0;
  while (!ended) {
    now = clock_ns(CLOCK_MONOTONIC);
    bucket_refill(&read_bucket, now);
    if (rate < 0) bucket_refill(&line_bucket, now);
    /* Over the bound: wait for a tenth of a second's worth, so that waking up stays rare. */
    int paused = read_bucket.tokens < 0 || (rate < 0 && line_bucket.tokens < 0);
    struct pollfd fds[3] = {{.fd = signals, .events = POLLIN},
                            {.fd = paused ? -1 : out_source.fd, .events = POLLIN},
                            {.fd = paused ? -1 : err_source.fd, .events = POLLIN}};
    if (poll(fds, 3, paused ? 50 : -1) < 0 && errno != EINTR) fail("poll");
    now = clock_ns(CLOCK_MONOTONIC);
    if (fds[1].revents) read_bucket.tokens -= (double)pull(&out_source, now);
    if (fds[2].revents) read_bucket.tokens -= (double)pull(&err_source, now);
    batch_flush();
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
      if (info.ssi_signo == SIGCHLD) {
        int state;
        pid_t pid;
        while ((pid = waitpid(-1, &state, WNOHANG)) > 0)
          if (pid == child) {
            status = state;
            ended = 1;
          }
      } else if (info.ssi_signo != SIGPIPE && info.ssi_signo != SIGTTIN && info.ssi_signo != SIGTTOU) {
        kill(-child, (int)info.ssi_signo);
      }
    }
  }
  drain(&out_source);
  drain(&err_source);
  batch_flush();
  if (getpid() != 1) kill(-child, SIGKILL);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
