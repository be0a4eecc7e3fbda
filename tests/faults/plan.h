/* Loaded first (LD_PRELOAD): what Kamailio's drivers ask of a database's library is counted and made to fail. What is to
 * happen stands in the file that FAULTS names, which all processes share. */
#ifndef PLAN_H
#define PLAN_H

#include <stdatomic.h>
#include <stdint.h>

enum { NONE, NOT_DONE, DONE_AND_DENIED, ALL, SLOW, DEADLOCK, CUT, CUT_AFTER };

#define CALLER __builtin_return_address(0)

struct plan {
	_Atomic uint64_t what;
	_Atomic uint64_t steps;
	_Atomic uint64_t at;
	_Atomic uint64_t count;
	_Atomic uint64_t failed;
	_Atomic uint64_t delay; /* microseconds */
};

extern struct plan *plan;

/* A function of a library, which is a module's own and does not come next in the order of names. */
void *of_library(const char *library, const char *name);

/* Whether something is to go wrong now. What the library asks of itself does not count. */
int hits(const char *library, void *caller);

/* With SLOW: waits. */
void wait_if_slow(const char *library, void *caller);

#endif
