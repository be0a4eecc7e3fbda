/* What Kamailio's driver asks of SQLite's library: to prepare a statement, and to take a step of it. */
#include "plan.h"
#include <stddef.h>

enum { SQLITE_IOERR = 10 };

#define LIBRARY "libsqlite3.so.0"

int sqlite3_step(void *statement)
{
	static int (*step)(void *);
	if(!step)
		step = (int (*)(void *))of_library(LIBRARY, "sqlite3_step");
	if(!hits(LIBRARY, CALLER))
		return step(statement);
	if(plan->what == DONE_AND_DENIED)
		step(statement);
	return SQLITE_IOERR;
}

int sqlite3_prepare_v2(void *db, const char *text, int length, void **statement, const char **rest)
{
	static int (*prepare)(void *, const char *, int, void **, const char **);
	if(!prepare)
		prepare = (int (*)(void *, const char *, int, void **, const char **))of_library(LIBRARY, "sqlite3_prepare_v2");
	/* Once for each statement. */
	wait_if_slow(LIBRARY, CALLER);
	/* Nothing is done here. */
	if(!plan || plan->what == DONE_AND_DENIED || !hits(LIBRARY, CALLER))
		return prepare(db, text, length, statement, rest);
	*statement = NULL;
	return SQLITE_IOERR;
}
