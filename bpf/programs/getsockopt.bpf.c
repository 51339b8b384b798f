// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/getsockopt of a workload that asked for it: SO_ORIGINAL_DST as if connection tracking knew what was dialled. A
 * socket that the programs do not know keeps the kernel's answer.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "maps.h"

#define NM_SOL_IP 0
#define NM_SOL_IPV6 41
#define NM_SO_ORIGINAL_DST 80

/* Verdict: this hook does not refuse. */
#define NM_DONE 1

static __always_inline int nm_original(struct bpf_sock *sk, struct nm_endpoint *original)
{
	struct nm_socket *meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);

	if (!meta)
		return 0;
	switch (meta->kind) {
	case NM_SOCKET_DIALLED:
	case NM_SOCKET_DIRECT:
		*original = meta->address;
		return 1;
	case NM_SOCKET_CLIENT:
	case NM_SOCKET_ACCEPTED:
		/* Steering changes no destination: the socket's own address is what its client dialled. */
		if (sk->family == NM_AF_INET6) {
			original->ip[0] = NM_READ(sk, struct bpf_sock, src_ip6[0]);
			original->ip[1] = NM_READ(sk, struct bpf_sock, src_ip6[1]);
			original->ip[2] = NM_READ(sk, struct bpf_sock, src_ip6[2]);
			original->ip[3] = NM_READ(sk, struct bpf_sock, src_ip6[3]);
		} else {
			nm_set_ip4(original->ip, NM_READ(sk, struct bpf_sock, src_ip4));
		}
		original->port = sk->src_port;
		return 1;
	}
	return 0;
}

static __always_inline void nm_answer4(struct bpf_sockopt *ctx, const struct nm_endpoint *original)
{
	struct sockaddr_in *address = ctx->optval;

	if ((void *)(address + 1) > ctx->optval_end)
		return;
	__builtin_memset(address, 0, sizeof(*address));
	address->sin_family = NM_AF_INET;
	address->sin_port = bpf_htons(original->port);
	address->sin_addr.s_addr = original->ip[3];
	ctx->optlen = sizeof(*address);
	ctx->retval = 0;
}

static __always_inline void nm_answer6(struct bpf_sockopt *ctx, const struct nm_endpoint *original)
{
	struct sockaddr_in6 *address = ctx->optval;

	if ((void *)(address + 1) > ctx->optval_end)
		return;
	__builtin_memset(address, 0, sizeof(*address));
	address->sin6_family = NM_AF_INET6;
	address->sin6_port = bpf_htons(original->port);
	__builtin_memcpy(address->sin6_addr.s6_addr32, original->ip, sizeof(original->ip));
	ctx->optlen = sizeof(*address);
	ctx->retval = 0;
}

SEC("cgroup/getsockopt")
int nm_getsockopt(struct bpf_sockopt *ctx)
{
	struct nm_endpoint original = {};
	struct bpf_sock *sk;

	if (ctx->optname != NM_SO_ORIGINAL_DST || (ctx->level != NM_SOL_IP && ctx->level != NM_SOL_IPV6))
		return NM_DONE;
	sk = ctx->sk;
	if (!sk || !nm_original(sk, &original))
		return NM_DONE;
	if (ctx->level == NM_SOL_IP && nm_is_ip4(original.ip))
		nm_answer4(ctx, &original);
	else if (ctx->level == NM_SOL_IPV6 && !nm_is_ip4(original.ip))
		nm_answer6(ctx, &original);
	return NM_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
