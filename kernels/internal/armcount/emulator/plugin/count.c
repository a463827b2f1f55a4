// A qemu plugin that counts how often each translated block of guest code ran. Arguments: out=FILE. At the end a line
// "address instructions runs" in hexadecimal, decimal, decimal for each block goes to FILE. Counts are not atomic: one
// guest thread at a time must run what is to be counted.
//
// qemu ships no header with its packages, so the few functions used are declared here; they have been the same since the
// first version of the interface. API is the version that the running qemu wants.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
typedef uint64_t plugin_id;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = API;

static struct block {
	uint64_t address, instructions, runs;
	struct block *next;
} *blocks;
static const char *out;

static void ran(unsigned cpu, void *block) {
	(void)cpu;
	((struct block *)block)->runs++;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
	(void)id;
	struct block *b = calloc(1, sizeof *b);
	if (!b)
		abort();
	*b = (struct block){qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb), 0, blocks};
	blocks = b; // qemu holds a lock around this callback
	qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, 0, b);
}

static void ended(plugin_id id, void *unused) {
	(void)id, (void)unused;
	FILE *f = fopen(out, "w");
	if (!f)
		abort();
	for (struct block *b = blocks; b; b = b->next)
		if (b->runs)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->address, b->instructions, b->runs);
	fclose(f);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	if (!out)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
