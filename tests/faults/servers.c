/* What Kamailio's drivers ask of a server: one statement at a time. An error is one that the server itself gives, to another
 * statement, so that what becomes of the transaction is its decision. */
#include "plan.h"
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define POSTGRES "libpq.so.5"
#define MARIADB "libmariadb.so.3"

/* Milliseconds for the answer that nobody will hear. */
enum { PATIENCE = 5000 };

static void cut(int connection)
{
	shutdown(connection, SHUT_RDWR);
}

/* Waits for the answer, so that the statement is done, throws it away and cuts the connection. */
static void cut_after_answer(int connection)
{
	char answer[4096];
	struct pollfd wait = {connection, POLLIN, 0};
	if(poll(&wait, 1, PATIENCE) > 0)
		while(recv(connection, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			;
	cut(connection);
}

int PQsendQuery(void *connection, const char *text)
{
	static int (*send_query)(void *, const char *);
	static int (*socket_of)(const void *);
	if(!send_query) {
		socket_of = (int (*)(const void *))of_library(POSTGRES, "PQsocket");
		send_query = (int (*)(void *, const char *))of_library(POSTGRES, "PQsendQuery");
	}
	wait_if_slow(POSTGRES, CALLER);
	if(!hits(POSTGRES, CALLER))
		return send_query(connection, text);
	int sent;
	switch(plan->what) {
		case DEADLOCK:
			return send_query(connection, plan->at % 2 ? "DO $$BEGIN RAISE 'deadlock' USING ERRCODE='40P01'; END$$"
													   : "DO $$BEGIN RAISE 'conflict' USING ERRCODE='40001'; END$$");
		case CUT:
			cut(socket_of(connection));
			return send_query(connection, text);
		case CUT_AFTER:
			sent = send_query(connection, text);
			cut_after_answer(socket_of(connection));
			return sent;
		default:
			return send_query(connection, "DO $$BEGIN RAISE 'made up'; END$$");
	}
}

#define ERROR(state, number) "SIGNAL SQLSTATE '" state "' SET MYSQL_ERRNO=" number ", MESSAGE_TEXT='made up'"

int mysql_real_query(void *connection, const char *text, unsigned long length)
{
	static int (*query)(void *, const char *, unsigned long);
	static int (*send_query)(void *, const char *, unsigned long);
	static int (*read_result)(void *);
	static int (*socket_of)(void *);
	if(!query) {
		socket_of = (int (*)(void *))of_library(MARIADB, "mysql_get_socket");
		read_result = (int (*)(void *))of_library(MARIADB, "mysql_read_query_result");
		send_query = (int (*)(void *, const char *, unsigned long))of_library(MARIADB, "mysql_send_query");
		query = (int (*)(void *, const char *, unsigned long))of_library(MARIADB, "mysql_real_query");
	}
	wait_if_slow(MARIADB, CALLER);
	if(!hits(MARIADB, CALLER))
		return query(connection, text, length);
	const char *error = ERROR("45000", "1644");
	switch(plan->what) {
		case DEADLOCK:
			error = ERROR("HY000", "1205");
			if(plan->at % 2) {
				/* A deadlock ends the whole transaction. */
				query(connection, "ROLLBACK", strlen("ROLLBACK"));
				error = ERROR("40001", "1213");
			}
			break;
		case CUT:
			cut(socket_of(connection));
			return query(connection, text, length);
		case CUT_AFTER:
			if(send_query(connection, text, length))
				return 1;
			cut_after_answer(socket_of(connection));
			return read_result(connection);
	}
	return query(connection, error, strlen(error));
}
