/* Loaded before the C library's other users (LD_PRELOAD): the steps of SQLite's statements, as Kamailio's driver takes
 * them, counted and made to fail. What is to happen stands in the file that FAULTS names, which all processes share. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, NOT_DONE, DONE_AND_DENIED, ALL, SLOW };
enum { SQLITE_IOERR = 10 };

struct plan {
	_Atomic uint64_t what;
	_Atomic uint64_t steps;
	_Atomic uint64_t at;
	_Atomic uint64_t failed;
	_Atomic uint64_t delay; /* microseconds */
};

static struct plan *plan;
static int (*step)(void *);

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

int sqlite3_step(void *statement)
{
	if(!step) {
		/* The library is a module's own: it does not come next in the order of names. */
		void *library = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_NOLOAD);
		step = library ? (int (*)(void *))dlsym(library, "sqlite3_step") : NULL;
		if(!step)
			abort();
	}
	if(!plan || plan->what == NONE)
		return step(statement);
	uint64_t number = atomic_fetch_add(&plan->steps, 1) + 1;
	switch(plan->what) {
		case NOT_DONE:
			if(number != plan->at)
				break;
			plan->failed++;
			return SQLITE_IOERR;
		case DONE_AND_DENIED:
			if(number != plan->at)
				break;
			plan->failed++;
			step(statement);
			return SQLITE_IOERR;
		case ALL:
			plan->failed++;
			return SQLITE_IOERR;
		case SLOW:
			usleep(plan->delay);
			break;
	}
	return step(statement);
}
