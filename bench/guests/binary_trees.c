// Binary trees built and freed with malloc: pointers, branches, the C library's allocator.
#include <stdio.h>
#include <stdlib.h>

struct tree {
    struct tree *left, *right;
};

static struct tree *grow(int depth) {
    struct tree *t = malloc(sizeof *t);
    if (!t) abort();
    t->left = depth ? grow(depth - 1) : NULL;
    t->right = depth ? grow(depth - 1) : NULL;
    return t;
}
static int count(const struct tree *t) { return t ? 1 + count(t->left) + count(t->right) : 0; }
static void fell(struct tree *t) {
    if (!t) return;
    fell(t->left);
    fell(t->right);
    free(t);
}

int main(void) {
    enum { DEPTH = 19 };
    struct tree *old = grow(DEPTH);
    long nodes = 0;
    for (int depth = 4; depth <= DEPTH; depth += 4)
        for (int i = 0; i < 1 << (DEPTH - depth + 2); i++) {
            struct tree *t = grow(depth);
            nodes += count(t);
            fell(t);
        }
    printf("%ld %d\n", nodes, count(old));
    fell(old);
}
