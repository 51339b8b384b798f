// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshaead.h"

#if __has_include(<intel-ipsec-mb.h>)
#include <dlfcn.h>
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Only its table of functions is used, which never changes after it is made: all threads share it. */
static IMB_MGR *manager;
static const char *failure = "not loaded";
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	/* Never closed: contexts live as long as the process. */
	void *library = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
	IMB_MGR *(*allocate)(uint64_t);
	void (*initialise)(IMB_MGR *, IMB_ARCH *);
	unsigned (*version)(void);

	failure = "libIPSec_MB.so.1 is not installed";
	if (!library)
		return;
	allocate = (IMB_MGR * (*)(uint64_t)) dlsym(library, "alloc_mb_mgr");
	initialise = (void (*)(IMB_MGR *, IMB_ARCH *))dlsym(library, "init_mb_mgr_auto");
	version = (unsigned (*)(void))dlsym(library, "imb_get_version");
	failure = "libIPSec_MB.so.1 lacks a function";
	if (!allocate || !initialise || !version)
		return;
	/* The manager's layout is part of the interface and changes between minor versions. */
	failure = "libIPSec_MB.so.1 is of another version than the one built for";
	if (version() >> 8 != IMB_VERSION_NUM >> 8)
		return;
	failure = "libIPSec_MB.so.1 cannot be initialised";
	manager = allocate(0);
	if (!manager)
		return;
	initialise(manager, NULL);
	if (!manager->gcm128_enc || !manager->gcm256_enc || !manager->gcm128_dec || !manager->gcm256_dec)
		return;
	failure = NULL;
}

const char *nm_ipsecmb_load(void)
{
	pthread_once(&once, load);
	return failure;
}

struct context {
	struct gcm_key_data key;
	uint16_t suite;
};

void *nm_ipsecmb_create(uint16_t suite, const uint8_t *key)
{
	struct context *context = NULL;

	if (failure || (suite != 0x1301 && suite != 0x1302) || posix_memalign((void **)&context, 64, sizeof(*context)))
		return NULL;
	context->suite = suite;
	if (suite == 0x1301)
		IMB_AES128_GCM_PRE(manager, key, &context->key);
	else
		IMB_AES256_GCM_PRE(manager, key, &context->key);
	return context;
}

bool nm_ipsecmb_seal(void *opaque, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count)
{
	struct context *context = opaque;
	struct gcm_context_data state;

	if (context->suite == 0x1301)
		IMB_AES128_GCM_ENC(manager, &context->key, &state, data, data, (uint64_t)count, nonce, header, 5,
				   data + count, 16);
	else
		IMB_AES256_GCM_ENC(manager, &context->key, &state, data, data, (uint64_t)count, nonce, header, 5,
				   data + count, 16);
	return true;
}

bool nm_ipsecmb_open(void *opaque, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count)
{
	struct context *context = opaque;
	struct gcm_context_data state;
	uint8_t tag[16], difference = 0;

	if (context->suite == 0x1301)
		IMB_AES128_GCM_DEC(manager, &context->key, &state, data, data, (uint64_t)count, nonce, header, 5, tag,
				   16);
	else
		IMB_AES256_GCM_DEC(manager, &context->key, &state, data, data, (uint64_t)count, nonce, header, 5, tag,
				   16);
	/* In constant time. */
	for (int i = 0; i < 16; i++)
		difference |= tag[i] ^ data[count + i];
	return difference == 0;
}

void nm_ipsecmb_destroy(void *opaque)
{
	explicit_bzero(opaque, sizeof(struct context));
	free(opaque);
}

#else

const char *nm_ipsecmb_load(void) { return "built without the header intel-ipsec-mb.h (package libipsec-mb-dev)"; }

void *nm_ipsecmb_create(uint16_t suite, const uint8_t *key)
{
	(void)suite, (void)key;
	return NULL;
}

bool nm_ipsecmb_seal(void *context, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count)
{
	(void)context, (void)nonce, (void)header, (void)data, (void)count;
	return false;
}

bool nm_ipsecmb_open(void *context, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count)
{
	(void)context, (void)nonce, (void)header, (void)data, (void)count;
	return false;
}

void nm_ipsecmb_destroy(void *context) { (void)context; }

#endif
