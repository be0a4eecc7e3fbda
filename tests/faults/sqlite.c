/* Loaded first (LD_PRELOAD): what Kamailio's driver asks of SQLite's library, to prepare a statement and to take a step
 * of it, is counted and made to fail. What is to happen stands in the file that FAULTS names, which all processes share. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, NOT_DONE, DONE_AND_DENIED, ALL, SLOW };
enum { SQLITE_IOERR = 10 };

#define CALLER __builtin_return_address(0)

struct plan {
	_Atomic uint64_t what;
	_Atomic uint64_t steps;
	_Atomic uint64_t at;
	_Atomic uint64_t count;
	_Atomic uint64_t failed;
	_Atomic uint64_t delay; /* microseconds */
};

static struct plan *plan;

__attribute__((constructor)) static void begin(void)
{
	const char *name = getenv("FAULTS");
	int file = name ? open(name, O_RDWR) : -1;
	if(file < 0)
		return;
	void *shared = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if(shared != MAP_FAILED)
		plan = shared;
	close(file);
}

static void *of_library(const char *name)
{
	/* The library is a module's own: it does not come next in the order of names. */
	void *library = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_NOLOAD);
	void *function = library ? dlsym(library, name) : NULL;
	if(!function)
		abort();
	return function;
}

/* Whether something is to go wrong now. What the library asks of itself does not count. */
static int hits(void *caller)
{
	Dl_info of;
	if(!plan || plan->what == NONE || (dladdr(caller, &of) && strstr(of.dli_fname, "libsqlite3")))
		return 0;
	uint64_t number = atomic_fetch_add(&plan->steps, 1) + 1;
	if(plan->what == SLOW)
		usleep(plan->delay);
	int hit = plan->what == ALL || (plan->what != SLOW && number >= plan->at && number < plan->at + plan->count);
	plan->failed += hit;
	return hit;
}

int sqlite3_step(void *statement)
{
	static int (*step)(void *);
	if(!step)
		step = (int (*)(void *))of_library("sqlite3_step");
	if(!hits(CALLER))
		return step(statement);
	if(plan->what == DONE_AND_DENIED)
		step(statement);
	return SQLITE_IOERR;
}

int sqlite3_prepare_v2(void *db, const char *text, int length, void **statement, const char **rest)
{
	static int (*prepare)(void *, const char *, int, void **, const char **);
	if(!prepare)
		prepare = (int (*)(void *, const char *, int, void **, const char **))of_library("sqlite3_prepare_v2");
	/* Nothing is done here, and nothing takes long. */
	if(!plan || plan->what == DONE_AND_DENIED || plan->what == SLOW || !hits(CALLER))
		return prepare(db, text, length, statement, rest);
	*statement = NULL;
	return SQLITE_IOERR;
}
