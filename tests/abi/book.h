/*
 * A module's own table of subscriptions, as rls has one: entered, changed, walked and written to the module's own
 * database through presence_api_t. Modparams db_url and table of "caller".
 */
#ifndef CALLER_BOOK_H
#define CALLER_BOOK_H

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/dprint.h"
#include "core/rpc.h"
#include "core/sr_module.h"
#include "lib/srdb1/db.h"
#include "modules/presence/bind_presence.h"
#include "modules/pua/hash.h"

#define LISTS 4

static str book_url = {NULL, 0};
static str book_table = str_init("rls_watchers");
static db_func_t book_functions;
static db1_con_t *book_db;
static shtable_t book;
static presence_api_t *book_api;
/* What handle_expired saw: how often, and the Call-ID of the last. */
static int book_expired;
static int book_expired_answer;

static int book_init(presence_api_t *api)
{
	/* Not db_bind_mod, which is in a library of its own in some versions of the host. */
	db_bind_api_f bind = (db_bind_api_f)find_mod_export("db_sqlite", "db_bind_api", 0, 0);

	book_api = api;
	book = api->new_shtable(LISTS);
	return book == NULL || (book_url.len > 0 && (bind == NULL || bind(&book_functions) < 0)) ? -1 : 0;
}

static unsigned int list_of(str *call)
{
	return call->len ? (unsigned char)call->s[call->len - 1] % LISTS : 0;
}

static subs_t record(str *call, str *contact)
{
	static str name = str_init("memo");
	subs_t subs;

	memset(&subs, 0, sizeof(subs));
	subs.pres_uri = (str)str_init("sip:list@test.local");
	subs.to_user = (str)str_init("list");
	subs.to_domain = (str)str_init("test.local");
	subs.from_user = subs.watcher_user = (str)str_init("bob");
	subs.from_domain = subs.watcher_domain = (str)str_init("test.local");
	subs.to_tag = (str)str_init("to-1");
	subs.from_tag = (str)str_init("from-1");
	subs.sockinfo_str = (str)str_init("udp:127.0.0.1:5060");
	subs.local_contact = (str)str_init("sip:server@test.local");
	subs.callid = *call;
	subs.contact = *contact;
	subs.event = book_api->contains_event(&name, NULL);
	subs.status = ACTIVE_STATUS;
	subs.version = 1;
	return subs;
}

/* caller.enter CALL-ID CONTACT EXPIRES FLAG */
static void rpc_enter(rpc_t *rpc, void *ctx)
{
	str call, contact;
	int expires, flag;
	subs_t subs;

	if(rpc->scan(ctx, "SSdd", &call, &contact, &expires, &flag) < 4) {
		rpc->fault(ctx, 400, "Call-ID, contact, expires and flag are needed");
		return;
	}
	subs = record(&call, &contact);
	subs.expires = expires;
	subs.db_flag = flag;
	rpc->rpl_printf(ctx, "%d", book_api->insert_shtable(book, list_of(&call), &subs));
}

/* caller.change CALL-ID CONTACT EXPIRES: 0 for a NOTIFY, else a SUBSCRIBE; the answer, CSeq, version, flag */
static void rpc_change(rpc_t *rpc, void *ctx)
{
	str call, contact;
	int expires, result;
	subs_t subs;

	if(rpc->scan(ctx, "SSd", &call, &contact, &expires) < 3) {
		rpc->fault(ctx, 400, "Call-ID, contact and expires are needed");
		return;
	}
	subs = record(&call, &contact);
	subs.expires = expires;
	subs.remote_cseq = 42;
	result = book_api->update_shtable(book, list_of(&call), &subs, expires ? (REMOTE_TYPE) : (LOCAL_TYPE));
	rpc->rpl_printf(ctx, "%d cseq=%u version=%d flag=%d", result, subs.local_cseq, subs.version, subs.db_flag);
}

/* caller.leave CALL-ID */
static void rpc_leave(rpc_t *rpc, void *ctx)
{
	str call, none = {NULL, 0};
	subs_t subs;

	if(rpc->scan(ctx, "S", &call) < 1) {
		rpc->fault(ctx, 400, "A Call-ID is needed");
		return;
	}
	subs = record(&call, &none);
	rpc->rpl_printf(ctx, "%d", book_api->delete_shtable(book, list_of(&call), &subs));
}

/* The records, as a module walks them: by itself, with the lists locked. */
static void rpc_walk(rpc_t *rpc, void *ctx)
{
	subs_t *s;
	int i;

	for(i = 0; i < LISTS; i++) {
		lock_get(&book[i].lock);
		for(s = book[i].entries->next; s; s = s->next) {
			subs_t *found = book_api->search_shtable(book, s->callid, s->to_tag, s->from_tag, i);

			rpc->rpl_printf(ctx, "%.*s %.*s left=%d flag=%d cseq=%u remote=%u%s", s->callid.len, s->callid.s, s->contact.len,
					s->contact.s, (int)(s->expires - time(NULL)), s->db_flag, s->local_cseq, s->remote_cseq,
					found == s ? "" : " not found");
		}
		lock_release(&book[i].lock);
	}
}

static int book_handle_expired(subs_t *subs)
{
	LM_NOTICE("expired %.*s at %.*s\n", subs->callid.len, subs->callid.s, subs->contact.len, subs->contact.s);
	book_expired++;
	return -book_expired_answer;
}

/* caller.flush NO_LOCK ANSWER: how many had expired */
static void rpc_flush(rpc_t *rpc, void *ctx)
{
	int no_lock;

	if(rpc->scan(ctx, "dd", &no_lock, &book_expired_answer) < 2) {
		rpc->fault(ctx, 400, "no_lock and an answer are needed");
		return;
	}
	if(book_db == NULL)
		book_db = book_functions.init(&book_url);
	if(book_db == NULL || book_functions.use_table(book_db, &book_table) < 0) {
		rpc->fault(ctx, 500, "no database");
		return;
	}
	book_expired = 0;
	book_api->update_db_subs_timer(book_db, &book_functions, book, LISTS, no_lock, book_handle_expired);
	rpc->rpl_printf(ctx, "expired=%d", book_expired);
}

/* caller_churn(): enters, changes and removes records in all lists, beside whoever else does. 1, or -1 if one failed. */
static int w_churn(struct sip_msg *msg, char *p1, char *p2)
{
	static str contacts[] = {str_init("sip:a@b"), str_init("sip:a-much-longer-contact@somewhere.test:5099;transport=udp")};
	char name[32];
	str call = {name, 0};
	subs_t subs;
	int i, failed = 0;

	for(i = 0; i < 5000; i++) {
		call.len = snprintf(name, sizeof(name), "churn-%d-%d", my_pid(), i % 50);
		subs = record(&call, &contacts[i % 2]);
		subs.expires = 600;
		failed += book_api->insert_shtable(book, list_of(&call), &subs) < 0;
		subs.contact = contacts[(i + 1) % 2];
		failed += book_api->update_shtable(book, list_of(&call), &subs, i % 3 ? (REMOTE_TYPE) : (LOCAL_TYPE)) < 0;
		failed += book_api->delete_shtable(book, list_of(&call), &subs) < 0;
	}
	return failed ? -1 : 1;
}

#endif
