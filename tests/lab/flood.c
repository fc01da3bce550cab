/* flood: sends datagrams at a rate, from whatever addresses it is told, for tests of what strangers
 * can do to a port.
 *
 * gcc -O2 -Wall -Wextra -o flood flood.c
 * flood FILE FIRST_SOURCE SOURCES SOURCE_PORT TARGET PORT COUNT PER_SECOND
 *
 * FILE holds datagrams, each behind its length (u16, little-endian); they are sent in order, over
 * and over, COUNT in all. Datagram number i comes from address FIRST_SOURCE + i % SOURCES. A source
 * port of 0 stands for 1024 + i % 60000. IPv4 only; UDP checksums are left out, as RFC 768 allows.
 * Prints "sent COUNT in SECONDS". Needs CAP_NET_RAW. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { MAX_DATAGRAM = 1400, MAX_DATAGRAMS = 200000 };

struct packet {
  struct iphdr ip;
  struct udphdr udp;
  uint8_t payload[MAX_DATAGRAM];
} __attribute__((packed));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static uint8_t *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  *length = ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*length);
  if (bytes == NULL || fread(bytes, 1, *length, file) != *length) exit(1);
  fclose(file);
  return bytes;
}

int main(int argc, char **argv) {
  if (argc != 9) return 2;
  size_t length;
  uint8_t *bytes = read_file(argv[1], &length);
  static uint8_t *datagrams[MAX_DATAGRAMS];
  size_t found = 0;
  for (size_t at = 0; at + 2 <= length && found < MAX_DATAGRAMS;) {
    size_t size = bytes[at] | bytes[at + 1] << 8;
    if (size > MAX_DATAGRAM || at + 2 + size > length) return 2;
    datagrams[found++] = bytes + at;
    at += 2 + size;
  }
  uint32_t first = ntohl(inet_addr(argv[2]));
  long sources = atol(argv[3]), source_port = atol(argv[4]);
  struct sockaddr_in target = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(argv[5])};
  uint16_t port = htons(atoi(argv[6]));
  long count = atol(argv[7]);
  double rate = atof(argv[8]);
  int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (raw < 0 || found == 0 || sources < 1 || rate <= 0) {
    perror("socket");
    return 1;
  }
  static struct packet packet;
  packet.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
  packet.ip.daddr = target.sin_addr.s_addr;
  packet.udp.dest = port;
  double started = now();
  for (long i = 0; i < count; i++) {
    while (i / rate - (now() - started) > 0.002) {
      struct timespec pause = {.tv_nsec = 1000000};
      nanosleep(&pause, NULL);
    }
    const uint8_t *datagram = datagrams[i % found];
    size_t size = datagram[0] | datagram[1] << 8;
    memcpy(packet.payload, datagram + 2, size);
    packet.ip.saddr = htonl(first + i % sources);
    packet.ip.tot_len = htons(sizeof packet.ip + sizeof packet.udp + size);
    packet.udp.source = htons(source_port != 0 ? source_port : 1024 + i % 60000);
    packet.udp.len = htons(sizeof packet.udp + size);
    size_t whole = sizeof packet.ip + sizeof packet.udp + size;
    while (sendto(raw, &packet, whole, 0, (struct sockaddr *)&target, sizeof target) < 0) {
      if (errno != ENOBUFS && errno != EINTR) {
        perror("sendto");
        return 1;
      }
    }
  }
  printf("sent %ld in %.2f s\n", count, now() - started);
  return 0;
}
