/* delaywire: an Ethernet cable between two network namespaces, with delay, jitter, loss,
 * duplicates, reordering and rate; for kernels without netem.
 *
 * gcc -O2 -Wall -Wextra -o delaywire delaywire.c
 * delaywire NSA IFA NSB IFB [delay=MS] [jitter=MS] [loss=PERCENT] [dup=PERCENT] [reorder=0|1]
 *           [rate=MBIT] [queue=MS]
 *
 * Makes TAP devices IFA in namespace NSA and IFB in NSB, sets them up, and prints "ready". A setting
 * counts for both directions, one with the prefix a. or b. only for frames that leave A or B. More
 * settings are read from standard input while it runs, and the word "stats"; the end of the input
 * does not end it, SIGTERM does.
 *
 * jitter: 0 to MS more, evenly; order is kept unless reorder=1. rate: frames are sent one after the
 * other; those that would wait longer than queue (100 ms unless set) are dropped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TX_QUEUE = 10000, READS_A_TURN = 64, FRAME_MAX = 70000, WIRE_OVERHEAD = 24 };

typedef struct {
  uint64_t due, order;
  size_t length;
  unsigned char *bytes;
} Frame;

/* One direction: its settings, and its frames under way as a binary heap, the earliest first. */
typedef struct {
  double delay, jitter, loss, dup, reorder, rate, queue;
  Frame *heap;
  size_t count, capacity;
  uint64_t order, last_due, busy_until;
  unsigned long in, out, dropped;
} Direction;

static Direction directions[2];
static int taps[2];

static const struct {
  const char *name;
  size_t offset;
} SETTINGS[] = {
    {"delay", offsetof(Direction, delay)},     {"jitter", offsetof(Direction, jitter)},
    {"loss", offsetof(Direction, loss)},       {"dup", offsetof(Direction, dup)},
    {"reorder", offsetof(Direction, reorder)}, {"rate", offsetof(Direction, rate)},
    {"queue", offsetof(Direction, queue)},
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Always the same sequence, so that a run can be repeated. */
static double random_unit(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (double)(state >> 11) * (1.0 / 9007199254740992.0);
}

static int chance(double percent) { return percent > 0 && random_unit() * 100 < percent; }

static int is_before(const Frame *a, const Frame *b) {
  return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void push(Direction *way, Frame frame) {
  if (way->count == way->capacity) {
    way->capacity = way->capacity ? way->capacity * 2 : 1024;
    way->heap = realloc(way->heap, way->capacity * sizeof frame);
    if (!way->heap) abort();
  }
  size_t at = way->count++;
  for (; at > 0 && is_before(&frame, &way->heap[(at - 1) / 2]); at = (at - 1) / 2)
    way->heap[at] = way->heap[(at - 1) / 2];
  way->heap[at] = frame;
}

static Frame pop(Direction *way) {
  Frame first = way->heap[0], last = way->heap[--way->count];
  size_t at = 0, child;
  while ((child = 2 * at + 1) < way->count) {
    if (child + 1 < way->count && is_before(&way->heap[child + 1], &way->heap[child])) child++;
    if (!is_before(&way->heap[child], &last)) break;
    way->heap[at] = way->heap[child];
    at = child;
  }
  if (way->count > 0) way->heap[at] = last;
  return first;
}

/* Takes one setting. Returns -1 if there is none of that name. */
static int set(char *text) {
  int from = 0, to = 2;
  char *value = strchr(text, '=');
  if (!value) return -1;
  *value++ = 0;
  if (!strncmp(text, "a.", 2)) to = 1, text += 2;
  else if (!strncmp(text, "b.", 2)) from = 1, text += 2;
  for (size_t i = 0; i < sizeof SETTINGS / sizeof *SETTINGS; i++) {
    if (strcmp(text, SETTINGS[i].name)) continue;
    for (int side = from; side < to; side++)
      *(double *)((char *)&directions[side] + SETTINGS[i].offset) = atof(value);
    return 0;
  }
  return -1;
}

/* Makes a TAP device in a namespace, which this thread enters, and sets it up. */
static int open_tap(const char *namespace, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", namespace);
  int inside = open(path, O_RDONLY | O_CLOEXEC);
  if (inside < 0 || setns(inside, CLONE_NEWNET)) fail(path);
  close(inside);
  int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (tap < 0 || ioctl(tap, TUNSETIFF, &request)) fail(name);
  int any = socket(AF_INET, SOCK_DGRAM, 0);
  request.ifr_qlen = TX_QUEUE;
  ioctl(any, SIOCSIFTXQLEN, &request);
  ioctl(any, SIOCGIFFLAGS, &request);
  request.ifr_flags |= IFF_UP;
  if (ioctl(any, SIOCSIFFLAGS, &request)) fail("set up");
  close(any);
  return tap;
}

/* A frame enters the wire: decides when it leaves it, if at all. */
static void enter(Direction *way, const unsigned char *bytes, size_t length) {
  way->in++;
  if (chance(way->loss)) {
    way->dropped++;
    return;
  }
  uint64_t now = now_ns(), due = now;
  if (way->rate > 0) {
    uint64_t start = way->busy_until > now ? way->busy_until : now;
    double queue_ms = way->queue > 0 ? way->queue : 100;
    if (start - now > (uint64_t)(queue_ms * 1e6)) {
      way->dropped++;
      return;
    }
    due = way->busy_until = start + (uint64_t)((double)(length + WIRE_OVERHEAD) * 8e3 / way->rate);
  }
  double jitter_ms = way->jitter > 0 ? random_unit() * way->jitter : 0;
  due += (uint64_t)((way->delay + jitter_ms) * 1e6);
  if (way->reorder == 0 && due < way->last_due) due = way->last_due;
  way->last_due = due;
  for (int copies = chance(way->dup) ? 2 : 1; copies > 0; copies--) {
    Frame frame = {due, way->order++, length, malloc(length)};
    if (!frame.bytes) abort();
    memcpy(frame.bytes, bytes, length);
    push(way, frame);
  }
}

/* Writes what is due. Returns when the next frame is, 0 for never. */
static uint64_t leave(int side) {
  Direction *way = &directions[side];
  uint64_t now = now_ns();
  while (way->count > 0 && way->heap[0].due <= now) {
    Frame frame = pop(way);
    /* EIO: the far device was set down. A cable loses what nobody takes. */
    if (write(taps[!side], frame.bytes, frame.length) < 0 && errno != EAGAIN && errno != EIO)
      perror("write");
    way->out++;
    free(frame.bytes);
  }
  return way->count > 0 ? way->heap[0].due : 0;
}

static void command(char *line) {
  for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
    if (!strcmp(word, "stats")) {
      for (int side = 0; side < 2; side++) {
        Direction *way = &directions[side];
        printf("%c in %lu out %lu dropped %lu queued %zu\n", 'a' + side, way->in, way->out,
               way->dropped, way->count);
      }
      fflush(stdout);
    } else if (set(word)) {
      fprintf(stderr, "bad setting %s\n", word);
    }
  }
}

int main(int count, char **words) {
  if (count < 5) {
    fprintf(stderr, "usage: delaywire NSA IFA NSB IFB [delay=MS ...]\n");
    return 2;
  }
  for (int i = 5; i < count; i++) {
    if (set(words[i])) {
      fprintf(stderr, "bad setting %s\n", words[i]);
      return 2;
    }
  }
  taps[0] = open_tap(words[1], words[2]);
  taps[1] = open_tap(words[3], words[4]);
  prctl(PR_SET_TIMERSLACK, 1);
  printf("ready\n");
  fflush(stdout);
  for (int input = 0;;) {
    static unsigned char bytes[FRAME_MAX];
    static char line[256];
    uint64_t next = 0;
    for (int side = 0; side < 2; side++) {
      uint64_t due = leave(side);
      if (due > 0 && (next == 0 || due < next)) next = due;
    }
    struct pollfd ready[3] = {{taps[0], POLLIN, 0}, {taps[1], POLLIN, 0}, {input, POLLIN, 0}};
    struct timespec wait = {0, 0};
    uint64_t now = now_ns();
    if (next > now) {
      wait.tv_sec = (time_t)((next - now) / 1000000000u);
      wait.tv_nsec = (long)((next - now) % 1000000000u);
    }
    if (ppoll(ready, 3, next > 0 ? &wait : NULL, NULL) < 0 && errno != EINTR) fail("poll");
    for (int side = 0; side < 2; side++) {
      for (int reads = 0; ready[side].revents && reads < READS_A_TURN; reads++) {
        ssize_t length = read(taps[side], bytes, sizeof bytes);
        if (length <= 0) break;
        enter(&directions[side], bytes, (size_t)length);
      }
    }
    if (input < 0 || !ready[2].revents) continue;
    ssize_t length = read(input, line, sizeof line - 1);
    if (length <= 0) {
      input = -1;
      continue;
    }
    line[length] = 0;
    command(line);
  }
}
