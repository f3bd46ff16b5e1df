/* SHA-256 and the keyed hash of secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "turnout/mem.h"

static void test_sha256(void **state)
{
    const struct {
        const char *text, *hex;
    } rows[] = {
        /* FIPS 180-4 examples */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    (void)state;
    char out[TN_SHA256_HEX];
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        tn_sha256_hex(rows[i].text, strlen(rows[i].text), out);
        assert_string_equal(out, rows[i].hex);
    }
    tn_sha256_hex("abc\0", 4, out);
    assert_string_not_equal(out, rows[1].hex);
}

static void test_secret_round_trip(void **state)
{
    (void)state;
    tn_autofree char *a = tn_secret_hash("pass\0word", 9, NULL);
    tn_autofree char *b = tn_secret_hash("pass\0word", 9, NULL);
    assert_int_equal(strlen(a), strlen("scrypt:") + 32 + 1 + 64);
    assert_true(strncmp(a, "scrypt:", 7) == 0 && a[39] == ':');
    assert_string_not_equal(a, b); /* random salt */
    assert_true(tn_secret_matches("pass\0word", 9, a));
    assert_true(tn_secret_matches("pass\0word", 9, b));
    assert_false(tn_secret_matches("pass", 4, a));
    assert_false(tn_secret_matches("pass\0worD", 9, a));
    assert_false(tn_secret_matches("", 0, a));
    assert_null(strstr(a, "pass"));
    tn_autofree char *again = tn_secret_hash("pass\0word", 9, a);
    assert_string_equal(again, a);
}

static void test_empty_secret(void **state)
{
    (void)state;
    tn_autofree char *a = tn_secret_hash("", 0, NULL);
    assert_true(tn_secret_matches("", 0, a));
    assert_false(tn_secret_matches("x", 1, a));
}

/* RFC 7914 §12 has other parameters; this value was made with Python: hashlib.scrypt(b"secret",
 * salt=bytes(range(16)), n=2**14, r=8, p=1, dklen=32). */
static void test_known_scrypt(void **state)
{
    (void)state;
    tn_autofree char *h = tn_secret_hash("secret", 6, "scrypt:000102030405060708090a0b0c0d0e0f:");
    assert_string_equal(h, "scrypt:000102030405060708090a0b0c0d0e0f:"
                           "9544e48979da3c896dfb7f7f5bc015fb320e810f8372f88d66d9921da5a2aa65");
}

/* Labels can be written by anybody: what is not our form matches nothing. */
static void test_hostile_labels(void **state)
{
    static const char *const bad[] = {
        "",
        "scrypt:",
        "scrypt",
        "plain",
        "scrypt:zz0102030405060708090a0b0c0d0e0f:",
        "scrypt:000102",
        "SCRYPT:000102030405060708090a0b0c0d0e0f:00",
        "scrypt:000102030405060708090a0b0c0d0e0f",
        "scrypt:000102030405060708090a0b0c0d0e0f:00",
    };
    (void)state;
    for (size_t i = 0; i < TN_COUNT(bad); i++)
        assert_false(tn_secret_matches("secret", 6, bad[i]));
    assert_false(tn_secret_matches("secret", 6, NULL));
    assert_null(tn_secret_hash("secret", 6, "scrypt:zz0102030405060708090a0b0c0d0e0f:"));
    assert_null(tn_secret_hash("secret", 6, "plain"));
    tn_autofree char *mine = tn_secret_hash("secret", 6, NULL);
    tn_autofree char *longer = tn_format("%s0", mine);
    assert_false(tn_secret_matches("secret", 6, longer));
    mine[strlen(mine) - 1] = mine[strlen(mine) - 1] == '0' ? '1' : '0';
    assert_false(tn_secret_matches("secret", 6, mine));
}

static void test_random(void **state)
{
    (void)state;
    char a[129], b[129];
    for (size_t n = 0; n <= 128; n++) {
        memset(a, 'Z', sizeof(a));
        tn_random_hex(a, n);
        assert_int_equal(strlen(a), n);
        for (size_t i = 0; i < n; i++)
            assert_true(isxdigit((unsigned char)a[i]) && !isupper((unsigned char)a[i]));
    }
    tn_random_hex(a, 32);
    tn_random_hex(b, 32);
    assert_string_not_equal(a, b);
}

static void test_wipe(void **state)
{
    (void)state;
    char secret[] = "secret";
    tn_wipe(secret, sizeof(secret));
    for (size_t i = 0; i < sizeof(secret); i++)
        assert_int_equal(secret[i], 0);
    tn_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),         cmocka_unit_test(test_secret_round_trip),
        cmocka_unit_test(test_empty_secret),   cmocka_unit_test(test_known_scrypt),
        cmocka_unit_test(test_hostile_labels), cmocka_unit_test(test_random),
        cmocka_unit_test(test_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
