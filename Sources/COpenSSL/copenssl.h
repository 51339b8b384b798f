// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL as Swift sees it, with the few macros that Swift does not import as inline functions.
#pragma once
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline uint64_t nm_ssl_options(void)
{
	return SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF;
}

static inline int nm_general_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }

static inline const GENERAL_NAME *nm_general_name(const GENERAL_NAMES *names, int index)
{
	return sk_GENERAL_NAME_value(names, index);
}

/// The text of a URI name; NULL when it is of another kind.
static inline const ASN1_IA5STRING *nm_general_name_uri(const GENERAL_NAME *name)
{
	return name->type == GEN_URI ? name->d.uniformResourceIdentifier : NULL;
}

static inline void nm_general_names_free(GENERAL_NAMES *names) { sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free); }

static inline int nm_add_chain_certificate(SSL_CTX *context, X509 *certificate)
{
	return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

/// `ERR_peek_last_error` after which the queue is empty.
static inline unsigned long nm_take_last_error(void)
{
	unsigned long code = ERR_peek_last_error();
	ERR_clear_error();
	return code;
}
