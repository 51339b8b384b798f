// SPDX-License-Identifier: Apache-2.0
// What getaddrinfo(3) of the C library it is linked with says: the addresses of a name, sorted by nothing, one a line.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **words)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *one;
	char text[64];
	int code = getaddrinfo(words[count - 1], NULL, &hints, &found);

	if (code) {
		printf("%s\n", gai_strerror(code));
		return 1;
	}
	for (one = found; one; one = one->ai_next)
		if (!getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
			puts(text);
	freeaddrinfo(found);
	return 0;
}
