/*
 * A web server of one file, to be pushed as a compiled program:
 *
 *   cc -O2 -static -o server server.c && cf push
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(int number) {
  (void)number;
  _exit(0);
}

int main(void) {
  const char *port = getenv("PORT");
  const char *index = getenv("CF_INSTANCE_INDEX");
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
  address.sin_port = htons((unsigned short)atoi(port ? port : "8080"));
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  signal(SIGTERM, stop);
  signal(SIGPIPE, SIG_IGN);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0) {
    perror("listen");
    return 1;
  }
  printf("listening on %s\n", port ? port : "8080");
  fflush(stdout);
  for (;;) {
    char request[4096], body[128], answer[512];
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (read(client, request, sizeof request) > 0) {
      int length = snprintf(body, sizeof body, "Hello from a compiled program, instance %s\n", index ? index : "0");
      int total = snprintf(answer, sizeof answer,
                           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length, body);
      if (write(client, answer, (size_t)total) < 0) perror("write");
    }
    close(client);
  }
}
