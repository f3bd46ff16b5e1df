/* hash.h - SHA-256 and the keyed hash of secrets (libcrypto). */
#ifndef TN_BASE_HASH_H
#define TN_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>

#define TN_SHA256_HEX 65 /* with the NUL */

void tn_sha256_hex(const void *data, size_t len, char out[TN_SHA256_HEX]);
/* "scrypt:<salt hex>:<hash hex>" of a secret; `salt` NULL = random (16 bytes). N=2^14 r=8 p=1. Caller frees. */
char *tn_secret_hash(const char *secret, size_t len, const char *like);
/* True when `secret` has the hash `stored`. */
bool tn_secret_matches(const char *secret, size_t len, const char *stored);
void tn_random_hex(char *out, size_t hex_digits); /* writes hex_digits + NUL */
/* Overwrites in a way that the compiler cannot drop. */
void tn_wipe(void *p, size_t n);

#endif
