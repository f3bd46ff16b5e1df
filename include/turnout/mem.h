/* turnout/mem.h - small allocations, ownership helpers.
 *
 * A small allocation that fails aborts the program: the journal is already on disk, so this is a crash like any
 * other and `resume` finishes the work. What is fed from outside goes into a tn_buf with a stated maximum.
 */
#ifndef TURNOUT_MEM_H
#define TURNOUT_MEM_H

#include <stdarg.h>
#include <stddef.h>

void *tn_alloc(size_t n); /* zeroed */
void *tn_realloc_array(void *p, size_t n, size_t size);
char *tn_strdup(const char *s); /* NULL stays NULL */
char *tn_strndup(const char *s, size_t n);
char *tn_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *tn_vformat(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Cleanup attributes: `tn_auto(free) char *s = …` */
void tn_cleanup_free(void *p);  /* p is the address of a pointer */
void tn_cleanup_close(int *fd); /* -1 = nothing */
#define tn_autofree  __attribute__((cleanup(tn_cleanup_free)))
#define tn_autoclose __attribute__((cleanup(tn_cleanup_close)))
/* Declares `void tn_cleanup_<type>(struct tn_<type> **)` for `tn_auto(type)`. */
#define TN_DEFINE_CLEANUP(type, free_fn)                                                                     \
    static inline void tn_cleanup_##type(struct tn_##type **p)                                               \
    {                                                                                                        \
        free_fn(*p);                                                                                         \
    }
#define tn_auto(type) __attribute__((cleanup(tn_cleanup_##type)))
#define TN_TAKE(p)                                                                                           \
    __extension__({                                                                                          \
        __typeof__(p) tn_take_ = (p);                                                                        \
        (p) = NULL;                                                                                          \
        tn_take_;                                                                                            \
    })
#define TN_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Grows `*items` so that one more fits; used as TN_PUSH(list.v, list.n, list.cap) = value. */
#define TN_GROW(v, n, cap)                                                                                   \
    ((n) < (cap) ? (void)0                                                                                   \
                 : (void)((cap) = (cap) ? (cap)*2 : 8, (v) = tn_realloc_array((v), (cap), sizeof(*(v)))))

/* An arena: everything made in it is freed at once. Not shared between threads. */
struct tn_arena;
struct tn_arena *tn_arena_new(void);
void tn_arena_free(struct tn_arena *a);
void *tn_arena_alloc(struct tn_arena *a, size_t n); /* zeroed, aligned for any type */
char *tn_arena_strdup(struct tn_arena *a, const char *s);
char *tn_arena_strndup(struct tn_arena *a, const char *s, size_t n);
char *tn_arena_format(struct tn_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
TN_DEFINE_CLEANUP(arena, tn_arena_free)

#endif
