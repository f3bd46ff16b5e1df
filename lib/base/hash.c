#include "lib/base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "turnout/mem.h"

enum { SALT = 16, KEY = 32 };

static void to_hex(const unsigned char *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

static bool from_hex(const char *s, unsigned char *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        if (sscanf(s + 2 * i, "%2x", &v) != 1)
            return false;
        out[i] = (unsigned char)v;
    }
    return true;
}

void tn_sha256_hex(const void *data, size_t len, char out[TN_SHA256_HEX])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (!EVP_Digest(data, len, md, &n, EVP_sha256(), NULL))
        abort();
    to_hex(md, n, out);
}

/* False when `like` is not one of our hashes. */
static bool scrypt_hex(const char *secret, size_t len, const unsigned char salt[SALT], char out[2 * KEY + 1])
{
    unsigned char key[KEY];
    if (EVP_PBE_scrypt(secret, len, salt, SALT, 1 << 14, 8, 1, 64 * 1024 * 1024, key, KEY) != 1)
        return false;
    to_hex(key, KEY, out);
    return true;
}

char *tn_secret_hash(const char *secret, size_t len, const char *like)
{
    static const char prefix[] = "scrypt:";
    unsigned char salt[SALT];
    char salt_hex[2 * SALT + 1], key_hex[2 * KEY + 1];
    if (like) {
        if (strncmp(like, prefix, sizeof(prefix) - 1) != 0 || strlen(like) < sizeof(prefix) - 1 + 2 * SALT ||
            !from_hex(like + sizeof(prefix) - 1, salt, SALT))
            return NULL;
    } else if (getrandom(salt, SALT, 0) != SALT) {
        abort();
    }
    to_hex(salt, SALT, salt_hex);
    if (!scrypt_hex(secret, len, salt, key_hex))
        return NULL;
    return tn_format("%s%s:%s", prefix, salt_hex, key_hex);
}

bool tn_secret_matches(const char *secret, size_t len, const char *stored)
{
    tn_autofree char *mine = tn_secret_hash(secret, len, stored ? stored : "");
    return mine && strlen(mine) == strlen(stored) && CRYPTO_memcmp(mine, stored, strlen(mine)) == 0;
}

void tn_random_hex(char *out, size_t hex_digits)
{
    unsigned char raw[64];
    size_t n = (hex_digits + 1) / 2;
    if (n > sizeof(raw) || getrandom(raw, n, 0) != (ssize_t)n)
        abort();
    char hex[2 * sizeof(raw) + 1];
    to_hex(raw, n, hex);
    memcpy(out, hex, hex_digits);
    out[hex_digits] = 0;
}

void tn_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}
