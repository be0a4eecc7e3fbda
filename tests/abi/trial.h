/*
 * The package "trial": every function that a package may have, each counted, each able to misbehave on request
 * (caller.behave FUNCTION MANNER). What it allocates and what it is given back is counted, too (caller.trial).
 */
#ifndef CALLER_TRIAL_H
#define CALLER_TRIAL_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "core/rpc.h"
#include "modules/presence/bind_presence.h"

enum { AGG, AUX, AUTH, RULES, HARD, STATUS, PUBL, SUBS, FUNCTIONS };
static const char *function_names[FUNCTIONS] = {"agg", "aux", "auth", "rules", "hard", "status", "publ", "subs"};

/* none: nothing is made. fail: below zero. minus, huge, null: a document that cannot be. same: the given one is
 * returned. place: the given one is changed where it is. grow: and said to be longer than it is. empty: 0 bytes. */
enum { WELL, NONE, FAIL, MINUS, HUGE_LEN, NULL_TEXT, SAME, IN_PLACE, GROW, EMPTY, MANNERS };
static const char *manner_names[MANNERS] = {"well", "none", "fail", "minus", "huge", "null", "same", "place", "grow", "empty"};

/* In shared memory: all processes count. */
static struct trial {
	int manner[FUNCTIONS];
	int calls[FUNCTIONS];
	/* documents of agg and auth, and of aux, that were made and that were given back */
	int made, freed, aux_made, aux_freed;
} *trial;

static int called(int function)
{
	__sync_fetch_and_add(&trial->calls[function], 1);
	return trial->manner[function];
}

/* A document in pkg memory, right or wrong. Never longer than said, so that only its length is a lie. */
static str *document(int manner, const char *text, int len, int *counter)
{
	str *made = pkg_malloc(sizeof(str));
	char *copy = manner == NULL_TEXT ? NULL : pkg_malloc(len + 1);

	if(made == NULL || (copy == NULL && manner != NULL_TEXT)) {
		pkg_free(made);
		return NULL;
	}
	if(copy) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		if(counter)
			__sync_fetch_and_add(counter, 1);
	}
	made->s = copy;
	made->len = manner == MINUS ? -1 : manner == HUGE_LEN ? INT_MAX : manner == EMPTY ? 0 : len;
	return made;
}

static void trial_free(char *text)
{
	__sync_fetch_and_add(&trial->freed, 1);
	pkg_free(text);
}

static void trial_aux_free(char *text)
{
	__sync_fetch_and_add(&trial->aux_freed, 1);
	pkg_free(text);
}

/* All documents, one after the other, with a "+" between them. */
static str *trial_agg(str *user, str *domain, str **bodies, int n, int off)
{
	int manner = called(AGG), i, len = 0;
	char text[1024];

	if(manner == NONE || bodies == NULL)
		return NULL;
	if(manner == SAME)
		return bodies[n - 1];
	for(i = 0; i < n; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%s%.*s", i ? "+" : "", i == off ? "gone:" : "",
				bodies[i]->len, bodies[i]->s);
	return document(manner, text, len, &trial->made);
}

/* The document and the watcher's name. */
static str *trial_aux(subs_t *subs, str *body)
{
	int manner = called(AUX), len;
	char text[1024];

	switch(manner) {
		case NONE:
			return NULL;
		case SAME:
			return body;
		case IN_PLACE:
			body->s[0] = '*';
			return NULL;
		case GROW:
			body->len = 1000000;
			return NULL;
	}
	len = snprintf(text, sizeof(text), "%.*s for %.*s", body->len, body->s, subs->watcher_user.len, subs->watcher_user.s);
	return document(manner, text, len, &trial->aux_made);
}

/* The document as the rules let it through. */
static int trial_auth(str *body, subs_t *subs, str **result)
{
	int manner = called(AUTH), len;
	char text[1024];

	if(subs->auth_rules_doc == NULL)
		return -1;
	if(manner == NONE)
		return 0;
	if(manner == FAIL)
		return -1;
	if(manner == SAME) {
		*result = body;
		return 1;
	}
	len = snprintf(text, sizeof(text), "[%.*s]", body->len, body->s);
	*result = document(manner, text, len, &trial->made);
	return 1;
}

static int trial_rules(str *user, str *domain, str **rules)
{
	int manner = called(RULES);

	if(manner == FAIL)
		return -1;
	if(manner != NONE)
		*rules = document(manner, "everybody", 9, NULL);
	return 0;
}

static int trial_hard(str *user, str *domain, str *file, str **result)
{
	int manner = called(HARD);

	if(manner == FAIL)
		return -1;
	if(manner == NONE)
		return 0;
	*result = document(manner, "<hard/>", 7, NULL);
	return 1;
}

/* Who is called "pete" waits, who is called "tess" may not. */
static int trial_status(subs_t *subs)
{
	int manner = called(STATUS);

	if(manner == FAIL || subs->auth_rules_doc == NULL)
		return -1;
	subs->status = ACTIVE_STATUS;
	if(subs->watcher_user.len == 4 && memcmp(subs->watcher_user.s, "pete", 4) == 0)
		subs->status = PENDING_STATUS;
	if(subs->watcher_user.len == 4 && memcmp(subs->watcher_user.s, "tess", 4) == 0) {
		subs->status = TERMINATED_STATUS;
		subs->reason.s = "rejected";
		subs->reason.len = 8;
	}
	if(manner == HUGE_LEN || manner == MINUS) {
		subs->reason.s = "rejected";
		subs->reason.len = manner == MINUS ? -1 : INT_MAX;
	}
	if(manner == NULL_TEXT)
		subs->status = 9;
	return 0;
}

static int trial_publ(struct sip_msg *msg)
{
	return called(PUBL) == FAIL ? -1 : 1;
}

static int trial_subs(struct sip_msg *msg)
{
	return called(SUBS) == FAIL ? -1 : 1;
}

static int trial_register(presence_api_t *presence)
{
	pres_ev_t event;

	trial = shm_malloc(sizeof(*trial));
	if(trial == NULL)
		return -1;
	memset(trial, 0, sizeof(*trial));
	memset(&event, 0, sizeof(event));
	event.name.s = "trial";
	event.name.len = 5;
	event.content_type.s = "text/trial";
	event.content_type.len = 10;
	event.default_expires = 77;
	event.etag_not_new = 1;
	event.req_auth = 1;
	event.agg_nbody = trial_agg;
	event.free_body = trial_free;
	event.aux_body_processing = trial_aux;
	event.aux_free_body = trial_aux_free;
	event.apply_auth_nbody = trial_auth;
	event.get_rules_doc = trial_rules;
	event.get_pidf_doc = trial_hard;
	event.get_auth_status = trial_status;
	event.evs_publ_handl = trial_publ;
	event.evs_subs_handl = trial_subs;
	if(presence->add_event(&event) < 0)
		return -1;
	memset(&event, 0, sizeof(event));
	event.name.s = "trial.winfo";
	event.name.len = 11;
	event.content_type.s = "application/watcherinfo+xml";
	event.content_type.len = 27;
	event.default_expires = 78;
	return presence->add_event(&event);
}

static int index_of(const char **names, int n, str *name)
{
	int i;

	for(i = 0; i < n; i++)
		if((int)strlen(names[i]) == name->len && memcmp(names[i], name->s, name->len) == 0)
			return i;
	return -1;
}

static void rpc_behave(rpc_t *rpc, void *ctx)
{
	str function, manner;
	int f, m;

	if(rpc->scan(ctx, "SS", &function, &manner) < 2
			|| (f = index_of(function_names, FUNCTIONS, &function)) < 0
			|| (m = index_of(manner_names, MANNERS, &manner)) < 0) {
		rpc->fault(ctx, 400, "A function and a manner are needed");
		return;
	}
	trial->manner[f] = m;
}

static void rpc_trial(rpc_t *rpc, void *ctx)
{
	char text[256];
	int i, len = 0;

	for(i = 0; i < FUNCTIONS; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s=%d ", function_names[i], trial->calls[i]);
	rpc->rpl_printf(ctx, "%smade=%d freed=%d aux_made=%d aux_freed=%d", text, trial->made, trial->freed, trial->aux_made,
			trial->aux_freed);
}

#endif
