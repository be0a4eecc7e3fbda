/*
 * Makes shared memory scarce on demand, for the tests.
 *
 *   scarce.leave <bytes>    takes all of it but so much
 *   scarce.restore          gives it back
 *   scarce.fail <whose> <n> <count>   from now on the n-th allocation fails, and so many in all from there on: of the
 *                           module "presence", of everybody else ("host"), or of "anybody"; 0 0: none
 *   scarce.failed           how many allocations there were since then, and how many of them failed
 *
 * With the parameters "fail_at" and "fail_count" those of "presence" fail from the start on. Each is named in the log.
 *
 * To be loaded before the module whose allocations are to fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdatomic.h>
#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/mem/shm.h"
#include "core/rpc.h"
#include "core/rpc_lookup.h"

MODULE_VERSION

#ifndef DBG_SR_MEMORY
#error "without DBG_SR_MEMORY nobody says whose an allocation is"
#endif

struct block {
	struct block *next;
};

/* Of the process that answers commands. */
static struct block *taken;

enum { PRESENCE, HOST, ANYBODY };
static const char *const names[] = {"presence", "host", "anybody"};

struct plan {
	_Atomic int whose;
	_Atomic unsigned from;
	_Atomic unsigned count;
	_Atomic unsigned seen;
	_Atomic unsigned failed;
};

/* Shared by all processes. */
static struct plan *plan;
/* The allocator as it was. */
static sr_shm_api_t own;

#define WHERE const char *file, const char *func, unsigned int line, const char *module
#define HERE file, func, line, module

static int hits(WHERE)
{
	unsigned number;

	if(plan->from == 0)
		return 0;
	if(plan->whose != ANYBODY && (strcmp(module, "presence") == 0) != (plan->whose == PRESENCE))
		return 0;
	number = atomic_fetch_add(&plan->seen, 1) + 1;
	if(number < plan->from || number - plan->from >= plan->count)
		return 0;
	atomic_fetch_add(&plan->failed, 1);
	LM_ALERT("allocation %u fails: %s, %s:%u (%s)\n", number, func, file, line, module);
	return 1;
}

static void *give(void *pool, size_t size, WHERE)
{
	return hits(HERE) ? NULL : own.xmalloc(pool, size, HERE);
}

static void *give_zeroed(void *pool, size_t size, WHERE)
{
	return hits(HERE) ? NULL : own.xmallocxz(pool, size, HERE);
}

static void *give_again(void *pool, void *old, size_t size, WHERE)
{
	return hits(HERE) ? NULL : own.xrealloc(pool, old, size, HERE);
}

static void *give_instead(void *pool, void *old, size_t size, WHERE)
{
	if(!hits(HERE))
		return own.xreallocxf(pool, old, size, HERE);
	if(old)
		own.xfree(pool, old, HERE);
	return NULL;
}

static void *resize(void *pool, void *old, size_t size, WHERE)
{
	if(!hits(HERE))
		return own.xresize(pool, old, size, HERE);
	if(old)
		own.xfree(pool, old, HERE);
	return NULL;
}

static void restore(rpc_t *rpc, void *ctx)
{
	while(taken) {
		struct block *next = taken->next;
		shm_free(taken);
		taken = next;
	}
}

static void leave(rpc_t *rpc, void *ctx)
{
	int rest;
	unsigned long size;

	if(rpc->scan(ctx, "d", &rest) < 1 || rest < 0) {
		rpc->fault(ctx, 400, "how many bytes?");
		return;
	}
	/* In ever smaller blocks: what is free lies in pieces. */
	for(size = 1 << 22; size >= 1 << 10; size /= 2) {
		while(shm_available() > (unsigned long)rest + size) {
			struct block *block = shm_malloc(size);
			if(!block)
				break;
			block->next = taken;
			taken = block;
		}
	}
	rpc->add(ctx, "d", (int)shm_available());
}

static void fail(rpc_t *rpc, void *ctx)
{
	char *whose;
	int from, count;
	int of = 0;

	if(rpc->scan(ctx, "sdd", &whose, &from, &count) < 3 || from < 0 || count < 0) {
		rpc->fault(ctx, 400, "whose, from which on, and how many?");
		return;
	}
	while(of < ANYBODY && strcmp(whose, names[of]) != 0)
		of++;
	plan->from = 0;
	plan->whose = of;
	plan->count = count;
	plan->seen = 0;
	plan->failed = 0;
	plan->from = from;
}

static void failed(rpc_t *rpc, void *ctx)
{
	rpc->add(ctx, "dd", (int)plan->seen, (int)plan->failed);
}

static const char *leave_doc[] = {"takes all shared memory but so many bytes", 0};
static const char *restore_doc[] = {"gives it back", 0};
static const char *fail_doc[] = {"lets allocations fail", 0};
static const char *failed_doc[] = {"how many there were, and how many failed", 0};

static rpc_export_t commands[] = {
	{"scarce.leave", leave, leave_doc, 0},
	{"scarce.restore", restore, restore_doc, 0},
	{"scarce.fail", fail, fail_doc, 0},
	{"scarce.failed", failed, failed_doc, 0},
	{0, 0, 0, 0}
};

/* From the start on: the module's allocation that fails, and so many in all; 0: none. */
static int fail_at = 0;
static int fail_count = 1;

static param_export_t params[] = {
	{"fail_at", PARAM_INT, &fail_at},
	{"fail_count", PARAM_INT, &fail_count},
	{0, 0, 0}
};

static int mod_init(void)
{
	plan = shm_mallocxz(sizeof(*plan));
	if(!plan || rpc_register_array(commands) != 0)
		return -1;
	plan->count = fail_count;
	plan->from = fail_at;
	/* Before the fork: every process gets it. */
	own = _shm_root;
	_shm_root.xmalloc = give;
	_shm_root.xmallocxz = give_zeroed;
	_shm_root.xrealloc = give_again;
	_shm_root.xreallocxf = give_instead;
	_shm_root.xresize = resize;
	return 0;
}

struct module_exports exports = {
	"scarce", DEFAULT_DLFLAGS, 0, params, 0, 0, 0, mod_init, 0, 0
};
