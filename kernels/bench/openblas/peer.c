// The other side of the benchmark against OpenBLAS: it multiplies when told to and says how long that took.
//
//     cc -O2 -o peer peer.c -ldl && OPENBLAS_NUM_THREADS=1 ./peer
//
// prints "OpenBLAS VERSION as CORE" and then answers each line "product m n k repeats" with the seconds of all repeats.
// A product is N (C = A B), T (C = A B') or G (C += A' B), C [m, n], the inner dimension k, row-major as in the kernels.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

typedef void sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                   int ldb, float beta, float *c, int ldc);

static float *matrix(size_t n) {
	float *x = aligned_alloc(64, (4 * n + 63) / 64 * 64);
	if (!x)
		exit(1);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(i * 2654435761u % 2001) / 1000 - 1;
	return x;
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(void) {
	void *lib = dlopen("libopenblas.so.0", RTLD_NOW);
	sgemm *product = lib ? (sgemm *)dlsym(lib, "cblas_sgemm") : 0;
	void (*threads)(int) = lib ? (void (*)(int))dlsym(lib, "openblas_set_num_threads") : 0;
	char *(*config)(void) = lib ? (char *(*)(void))dlsym(lib, "openblas_get_config") : 0;
	char *(*core)(void) = lib ? (char *(*)(void))dlsym(lib, "openblas_get_corename") : 0;
	if (!product || !threads || !config || !core) {
		fprintf(stderr, "no libopenblas.so.0 here: apt-get install libopenblas0-pthread\n");
		return 1;
	}
	threads(1);
	printf("%.*s as %s\n", (int)strcspn(config() + 9, " ") + 9, config(), core()); // "OpenBLAS 0.3.21 …"
	fflush(stdout);

	char kind;
	int m, n, k, repeats, lastm = 0, lastn = 0, lastk = 0;
	float *a = 0, *b = 0, *c = 0;
	while (scanf(" %c %d %d %d %d", &kind, &m, &n, &k, &repeats) == 5) {
		if (m != lastm || n != lastn || k != lastk) {
			free(a), free(b), free(c);
			a = matrix((size_t)m * k), b = matrix((size_t)k * n), c = matrix((size_t)m * n);
			lastm = m, lastn = n, lastk = k;
		}
		int ta = kind == 'G' ? TRANSPOSED : PLAIN, tb = kind == 'T' ? TRANSPOSED : PLAIN;
		double from = now();
		for (int i = 0; i < repeats; i++)
			product(ROW_MAJOR, ta, tb, m, n, k, 1, a, kind == 'G' ? m : k, b, kind == 'T' ? k : n, kind == 'G', c, n);
		printf("%.9f\n", now() - from);
		fflush(stdout);
	}
}
