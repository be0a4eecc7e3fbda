/*
 * Gives private memory out of malloc instead of the host's pool, from the moment it is loaded: memcheck then sees every
 * block by itself, its ends and its end. For tests/abi/memcheck.rs; to be loaded first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/globals.h"
#include "core/mem/mem.h"

MODULE_VERSION

static sr_pkg_api_t pool;

struct module_exports exports = {
	"sysmalloc", DEFAULT_DLFLAGS, 0, 0, 0, 0, 0, 0, 0, 0
};

/* Blocks that were given out before belong to the pool. */
static int of_pool(void *p)
{
	return (char *)p >= pool.mem_pool && (char *)p < pool.mem_pool + pkg_mem_size;
}

#ifdef DBG_SR_MEMORY
#define WHERE , const char *file, const char *func, unsigned int line, const char *mname
#define HERE , file, func, line, mname
#else
#define WHERE
#define HERE
#endif

static void *give(void *block, size_t size WHERE)
{
	return malloc(size);
}

static void *give_zeroed(void *block, size_t size WHERE)
{
	return calloc(1, size);
}

static void take_back(void *block, void *p WHERE)
{
	if(p != NULL && of_pool(p))
		pool.xfree(block, p HERE);
	else
		free(p);
}

static void *resize(void *block, void *p, size_t size WHERE)
{
	if(p != NULL && of_pool(p))
		return pool.xrealloc(block, p, size HERE);
	return realloc(p, size);
}

static void *resize_or_free(void *block, void *p, size_t size WHERE)
{
	void *resized = resize(block, p, size HERE);

	if(resized == NULL)
		take_back(block, p HERE);
	return resized;
}

int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	pool = _pkg_root;
	_pkg_root.xmalloc = give;
	_pkg_root.xmallocxz = give_zeroed;
	_pkg_root.xfree = take_back;
	_pkg_root.xrealloc = resize;
	_pkg_root.xreallocxf = resize_or_free;
	_pkg_root.mname = "malloc";
	return 0;
}
