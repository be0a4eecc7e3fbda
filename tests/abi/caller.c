/*
 * A caller of the C interface of presence, for tests/abi.rs: each function of presence_api_t behind an RPC command or
 * a script function, and at the start what a module may do wrong while it registers packages.
 *
 * Loaded under a name with "early" in it, it calls everything as soon as it can: while it is loaded, if presence is
 * there already, and again in its mod_init, which then may come before that of presence.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/mod_fix.h"
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "core/parser/parse_event.h"
#include "core/parser/parse_param.h"
#include "modules/presence/bind_presence.h"

#include "book.h"
#include "exports.h"
#include "trial.h"

MODULE_VERSION

/* Null pointers where the C module itself would fall over. */
static int with_nulls = 0;
static presence_api_t presence;
/* What the calls at the start returned, as "name=value" words. */
static char started[2048];
static int early = 0;

static void note(const char *name, int value)
{
	size_t used = strlen(started);

	snprintf(started + used, sizeof(started) - used, "%s%s=%d", used ? " " : "", name, value);
}

static str text(char *s)
{
	str value = {s, s ? (int)strlen(s) : 0};

	return value;
}

static pres_ev_t package(char *name, char *content_type)
{
	pres_ev_t event;

	memset(&event, 0, sizeof(event));
	event.name = text(name);
	event.content_type = text(content_type);
	event.default_expires = 600;
	return event;
}

static int add(char *name, char *content_type)
{
	pres_ev_t event = package(name, content_type);

	return presence.add_event(&event);
}

static int add_without_functions(void)
{
	pres_ev_t event = package("guarded", "text/plain");

	event.req_auth = 1;
	return presence.add_event(&event);
}

/* The functions that a module may call with nothing. */
static void call_with_nulls(void)
{
	str bad = {NULL, 0};

	note("null_event", presence.add_event(NULL));
	note("null_list", presence.get_event_list(NULL));
	note("null_contains", presence.contains_event(NULL, NULL) != NULL);
	note("null_text", presence.contains_event(&bad, NULL) != NULL);
	note("null_search", presence.search_event(NULL) != NULL);
	note("null_sphere", presence.get_sphere(NULL) != NULL);
	note("null_document", presence.get_presentity(bad, NULL, NULL, NULL) != NULL);
	presence.free_presentity(NULL, NULL);
	note("null_publish", presence.handle_publish(NULL, NULL, NULL));
	note("null_subscribe", presence.handle_subscribe0(NULL));
	note("null_subscribe_as", presence.handle_subscribe(NULL, bad, bad));
	note("null_put", presence.update_presentity(NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0));
	note("null_refresh", presence.pres_refresh_watchers(NULL, NULL, 1));
	note("null_update", presence.update_watchers_status(NULL, NULL, NULL));
	note("null_size", presence.new_shtable(0) != NULL);
	note("null_negative", presence.new_shtable(-5) != NULL);
	presence.destroy_shtable(NULL, 4);
	note("null_insert", presence.insert_shtable(NULL, 0, NULL));
	note("null_find", presence.search_shtable(NULL, bad, bad, bad, 0) != NULL);
	note("null_delete", presence.delete_shtable(NULL, 0, NULL));
	note("null_change", presence.update_shtable(NULL, 0, NULL, 0));
	note("null_copy", presence.mem_copy_subs(NULL, PKG_MEM_TYPE) != NULL);
	presence.update_db_subs_timer(NULL, NULL, NULL, 4, 0, NULL);
	note("null_extract", presence.extract_sdialog_info(NULL, NULL, 0, NULL, bad, bad, bad));
}

/* Every function, before presence is ready. */
static void call_early(void)
{
	str uri = text("sip:alice@test.local"), name = text("memo"), user = text("alice"), realm = text("test.local");
	str etag = text("e.1"), body = text("early"), call = text("call"), contact = text("sip:a@b"), *list = NULL;
	subs_t subs, *copy;
	shtable_t table;

	if(presence_load_api(&presence) < 0) {
		note("nothing", 1);
		return;
	}
	note("contains", presence.contains_event(&name, NULL) != NULL);
	note("list", presence.get_event_list(&list));
	if(list) {
		pkg_free(list->s);
		pkg_free(list);
	}
	note("add", add("early", "text/plain"));
	name = text("early");
	note("contains_then", presence.contains_event(&name, NULL) != NULL);
	note("sphere", presence.get_sphere(&uri) != NULL);
	note("document", presence.get_presentity(uri, presence.contains_event(&name, NULL), NULL, NULL) != NULL);
	note("put", presence.update_presentity(&name, &realm, &user, &etag, NULL, &body, 60, 1, 0));
	note("refresh", presence.pres_refresh_watchers(&uri, &name, 1));
	note("auth", presence.pres_auth_status(NULL, uri, uri));
	note("publish", presence.handle_publish(NULL, NULL, NULL));
	note("subscribe", presence.handle_subscribe0(NULL));
	book_api = &presence;
	subs = record(&call, &contact);
	subs.expires = 60;
	table = presence.new_shtable(2);
	note("table", table != NULL);
	note("insert", presence.insert_shtable(table, 1, &subs));
	note("found", presence.search_shtable(table, call, subs.to_tag, subs.from_tag, 1) != NULL);
	note("delete", presence.delete_shtable(table, 1, &subs));
	presence.destroy_shtable(table, 2);
	copy = presence.mem_copy_subs(&subs, PKG_MEM_TYPE);
	note("copy", copy != NULL);
	if(copy)
		pkg_free(copy);
}

int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	early = strstr(path, "early") != NULL;
	if(early && find_module_by_name("presence"))
		call_early();
	return 0;
}

static int init(void)
{
	bind_presence_t bind = (bind_presence_t)find_export("bind_presence", 1, 0);

	if(bind == NULL) {
		LM_ERR("there is no bind_presence\n");
		return -1;
	}
	note("bind_null", bind(NULL));
	note("bind", presence_load_api(&presence));
	note("null_name", add(NULL, "text/plain"));
	note("empty_name", add("", "text/plain"));
	note("null_type", add("typeless", NULL));
	note("guarded", add_without_functions());
	note("memo", add("memo", "text/plain"));
	note("memo_again", add("memo", "text/html"));
	note("line", add("memo;line=1", "text/plain"));
	note("trial", trial_register(&presence));
	if(with_nulls)
		call_with_nulls();
	return book_init(&presence);
}

static int mod_init(void)
{
	if(early) {
		if(started[0] == '\0')
			call_early();
		return 0;
	}
	return init();
}

/* Up to four texts of an RPC call; 0 if one is missing. */
static int scan(rpc_t *rpc, void *ctx, str *texts, int n)
{
	int i;

	for(i = 0; i < n; i++) {
		if(rpc->scan(ctx, "S", &texts[i]) < 1) {
			rpc->fault(ctx, 400, "%d texts are needed", n);
			return 0;
		}
	}
	return 1;
}

static void rpc_started(rpc_t *rpc, void *ctx)
{
	rpc->rpl_printf(ctx, "%s", started);
}

static const char *name_of(pres_ev_t *event, char *buffer, int size)
{
	if(event == NULL)
		return "none";
	snprintf(buffer, size, "%.*s|%.*s", event->name.len, event->name.s, event->content_type.len, event->content_type.s);
	return buffer;
}

static void rpc_contains(rpc_t *rpc, void *ctx)
{
	char alone[128], parsed[128], searched[128];
	event_t event;
	str name;
	pres_ev_t *found;

	if(!scan(rpc, ctx, &name, 1))
		return;
	memset(&event, 0, sizeof(event));
	found = presence.contains_event(&name, &event);
	rpc->rpl_printf(ctx, "%s %s %s", name_of(presence.contains_event(&name, NULL), alone, sizeof(alone)),
			name_of(found, parsed, sizeof(parsed)),
			event.name.s ? name_of(presence.search_event(&event), searched, sizeof(searched)) : "unparsed");
	if(event.params.list)
		free_params(event.params.list);
}

static void rpc_packages(rpc_t *rpc, void *ctx)
{
	str *list = NULL;

	if(presence.get_event_list(&list) < 0 || list == NULL) {
		rpc->fault(ctx, 500, "no list");
		return;
	}
	rpc->rpl_printf(ctx, "%.*s", list->len, list->s);
	pkg_free(list->s);
	pkg_free(list);
}

/* caller.package NAME: the structure of a package as presence keeps it. */
static void rpc_package(rpc_t *rpc, void *ctx)
{
	pres_ev_t *event;
	str name;

	if(!scan(rpc, ctx, &name, 1))
		return;
	event = presence.contains_event(&name, NULL);
	if(event == NULL) {
		rpc->rpl_printf(ctx, "none");
		return;
	}
	rpc->rpl_printf(ctx, "expires=%u type=%d keeps=%d auth=%d agg=%d aux=%d peer=%.*s", event->default_expires, event->type,
			event->etag_not_new, event->req_auth, event->agg_nbody != NULL, event->aux_body_processing != NULL,
			event->wipeer ? event->wipeer->name.len : 4, event->wipeer ? event->wipeer->name.s : "none");
}

/* The functions of the table that are not there. */
static void rpc_missing(rpc_t *rpc, void *ctx)
{
	void **fields = (void **)&presence;
	int i, missing = 0;

	for(i = 0; i < (int)(sizeof(presence) / sizeof(void *)); i++)
		missing += fields[i] == NULL;
	rpc->rpl_printf(ctx, "%d of %d", missing, i);
}

static void rpc_put(rpc_t *rpc, void *ctx)
{
	/* event, user, entity-tag, document */
	str texts[4], realm = text("test.local"), sender = {NULL, 0};
	int expires, is_new;

	if(!scan(rpc, ctx, texts, 4))
		return;
	if(rpc->scan(ctx, "dd", &expires, &is_new) < 2) {
		rpc->fault(ctx, 400, "two numbers are needed");
		return;
	}
	rpc->rpl_printf(ctx, "%d", presence.update_presentity(&texts[0], &realm, &texts[1], &texts[2], &sender, &texts[3],
									   expires, is_new, 0));
}

static void rpc_document(rpc_t *rpc, void *ctx)
{
	str texts[2], *document;
	pres_ev_t *event;

	if(!scan(rpc, ctx, texts, 2))
		return;
	event = presence.contains_event(&texts[1], NULL);
	document = event ? presence.get_presentity(texts[0], event, NULL, NULL) : NULL;
	if(document == NULL) {
		rpc->rpl_printf(ctx, "none");
		return;
	}
	rpc->rpl_printf(ctx, "%.*s", document->len, document->s);
	presence.free_presentity(document, event);
}

static void rpc_sphere(rpc_t *rpc, void *ctx)
{
	char *sphere;
	str uri;

	if(!scan(rpc, ctx, &uri, 1))
		return;
	sphere = presence.get_sphere(&uri);
	rpc->rpl_printf(ctx, "%s", sphere ? sphere : "none");
	if(sphere)
		pkg_free(sphere);
}

static void rpc_auth(rpc_t *rpc, void *ctx)
{
	str texts[2];

	if(scan(rpc, ctx, texts, 2))
		rpc->rpl_printf(ctx, "%d", presence.pres_auth_status(NULL, texts[0], texts[1]));
}

/* caller.decide URI EVENT RULES: the package by its name alone, as presence_xml names it. */
static void rpc_decide(rpc_t *rpc, void *ctx)
{
	str texts[3];
	pres_ev_t event;

	if(!scan(rpc, ctx, texts, 3))
		return;
	memset(&event, 0, sizeof(event));
	event.name = texts[1];
	rpc->rpl_printf(ctx, "%d", presence.update_watchers_status(&texts[0], &event, &texts[2]));
}

static void rpc_refresh(rpc_t *rpc, void *ctx)
{
	str texts[2];

	if(scan(rpc, ctx, texts, 2))
		rpc->rpl_printf(ctx, "%d", presence.pres_refresh_watchers(&texts[0], &texts[1], 1));
}

/* Copies a subscription, puts it into a table, finds it, changes it and takes it out again. */
static void rpc_table(rpc_t *rpc, void *ctx)
{
	subs_t subs, *copy, *found;
	str name = text("memo");
	shtable_t table;
	int put, changed, same, gone;
	unsigned int cseq;

	if(!presence.new_shtable || !presence.mem_copy_subs) {
		rpc->fault(ctx, 500, "no table functions");
		return;
	}
	memset(&subs, 0, sizeof(subs));
	subs.pres_uri = text("sip:list@test.local");
	subs.callid = text("call");
	subs.to_tag = text("to");
	subs.from_tag = text("from");
	subs.contact = text("sip:here@test.local");
	subs.local_contact = text("sip:server@test.local");
	subs.record_route = text("<sip:proxy@test.local;lr>");
	subs.event = presence.contains_event(&name, NULL);
	subs.remote_cseq = 7;
	copy = presence.mem_copy_subs(&subs, PKG_MEM_TYPE);
	table = presence.new_shtable(4);
	if(copy == NULL || table == NULL) {
		rpc->fault(ctx, 500, "no copy or no table");
		return;
	}
	put = presence.insert_shtable(table, 1, copy);
	/* rls walks the table by itself. */
	found = table[1].entries->next;
	copy->remote_cseq = 8;
	changed = presence.update_shtable(table, 1, copy, REMOTE_TYPE);
	found = presence.search_shtable(table, subs.callid, subs.to_tag, subs.from_tag, 1) == found ? found : NULL;
	cseq = found ? found->remote_cseq : 0;
	same = found && found->contact.len == subs.contact.len && memcmp(found->contact.s, subs.contact.s, subs.contact.len) == 0;
	gone = presence.delete_shtable(table, 1, copy);
	rpc->rpl_printf(ctx, "put=%d changed=%d cseq=%u contact=%d gone=%d left=%d", put, changed, cseq, same, gone < 0,
			table[1].entries->next != NULL);
	presence.destroy_shtable(table, 4);
	pkg_free(copy);
}

/* caller.destroy N: a table that is destroyed with so many records in it; how many went in. */
static void rpc_destroy(rpc_t *rpc, void *ctx)
{
	shtable_t table;
	int i, n, put = 0;

	if(rpc->scan(ctx, "d", &n) < 1 || (table = presence.new_shtable(LISTS)) == NULL) {
		rpc->fault(ctx, 400, "A number is needed");
		return;
	}
	for(i = 0; i < n; i++) {
		char name[32];
		str call = {name, 0}, contact = text("sip:here@test.local");
		subs_t subs;

		call.len = snprintf(name, sizeof(name), "call-%d", i);
		subs = record(&call, &contact);
		put += presence.insert_shtable(table, i % LISTS, &subs) == 0;
	}
	presence.destroy_shtable(table, LISTS);
	rpc->rpl_printf(ctx, "%d", put);
}

/* What memcheck has to find: a byte behind a block of pkg memory is read, and the block is lost. */
static void rpc_spoil(rpc_t *rpc, void *ctx)
{
	char *volatile block = pkg_malloc(10);

	rpc->rpl_printf(ctx, "%s", block && block[10] == 'x' ? "x" : "done");
	block = NULL;
}

static int w_publish(struct sip_msg *msg, char *p1, char *p2)
{
	return presence.handle_publish(msg, NULL, NULL);
}

static int w_subscribe0(struct sip_msg *msg, char *p1, char *p2)
{
	return presence.handle_subscribe0(msg);
}

static int w_subscribe(struct sip_msg *msg, char *user, char *domain)
{
	str texts[2];

	if(fixup_get_svalue(msg, (gparam_p)user, &texts[0]) < 0 || fixup_get_svalue(msg, (gparam_p)domain, &texts[1]) < 0)
		return -1;
	return presence.handle_subscribe(msg, texts[0], texts[1]);
}

/* What the interface makes of a SUBSCRIBE, as a line in the log. */
static int w_extract(struct sip_msg *msg, char *p1, char *p2)
{
	subs_t subs;
	int own_tag = 0;
	str name = text("presence"), user = text("bob"), domain = text("test.local"), contact = text("sip:server@test.local");

	if(presence.extract_sdialog_info == NULL) {
		LM_NOTICE("no extract_sdialog_info\n");
		return -1;
	}
	memset(&subs, 0, sizeof(subs));
	/* As rls calls it: header fields parsed, the package known. */
	subs.event = presence.contains_event(&name, NULL);
	if(parse_headers(msg, HDR_EOH_F, 0) < 0)
		return -1;
	if(presence.extract_sdialog_info(&subs, msg, 300, &own_tag, contact, user, domain) < 0) {
		LM_NOTICE("nothing extracted\n");
		return -1;
	}
	LM_NOTICE("extracted to=%.*s@%.*s from=%.*s@%.*s callid=%.*s expires=%u cseq=%u own_tag=%d tag=%d\n",
			subs.to_user.len, subs.to_user.s, subs.to_domain.len, subs.to_domain.s, subs.from_user.len, subs.from_user.s, subs.from_domain.len,
			subs.from_domain.s, subs.callid.len, subs.callid.s, subs.expires, subs.remote_cseq, own_tag,
			subs.to_tag.len > 0);
	return 1;
}

static cmd_export_t commands[] = {
	{"caller_churn", w_churn, 0, 0, 0, REQUEST_ROUTE},
	{"caller_extract", w_extract, 0, 0, 0, REQUEST_ROUTE},
	{"caller_publish", w_publish, 0, 0, 0, REQUEST_ROUTE},
	{"caller_subscribe", w_subscribe0, 0, 0, 0, REQUEST_ROUTE},
	{"caller_subscribe", w_subscribe, 2, fixup_spve_all, 0, REQUEST_ROUTE},
	{0, 0, 0, 0, 0, 0}
};

static const char *doc[] = {"A function of presence_api_t.", 0};

static rpc_export_t rpcs[] = {
	{"caller.started", rpc_started, doc, 0},
	{"caller.missing", rpc_missing, doc, 0},
	{"caller.contains", rpc_contains, doc, 0},
	{"caller.packages", rpc_packages, doc, 0},
	{"caller.put", rpc_put, doc, 0},
	{"caller.document", rpc_document, doc, 0},
	{"caller.sphere", rpc_sphere, doc, 0},
	{"caller.auth", rpc_auth, doc, 0},
	{"caller.decide", rpc_decide, doc, 0},
	{"caller.refresh", rpc_refresh, doc, 0},
	{"caller.table", rpc_table, doc, 0},
	{"caller.destroy", rpc_destroy, doc, 0},
	{"caller.package", rpc_package, doc, 0},
	{"caller.enter", rpc_enter, doc, 0},
	{"caller.change", rpc_change, doc, 0},
	{"caller.leave", rpc_leave, doc, 0},
	{"caller.walk", rpc_walk, doc, RET_ARRAY},
	{"caller.flush", rpc_flush, doc, 0},
	{"caller.behave", rpc_behave, doc, 0},
	{"caller.trial", rpc_trial, doc, 0},
	{"caller.spoil", rpc_spoil, doc, 0},
	{"caller.exports", rpc_exports, doc, RET_ARRAY},
	{0, 0, 0, 0}
};

static param_export_t params[] = {
	{"with_nulls", PARAM_INT, &with_nulls},
	{"db_url", PARAM_STR, &book_url},
	{"table", PARAM_STR, &book_table},
	{0, 0, 0}
};

struct module_exports exports = {
	"caller", DEFAULT_DLFLAGS, commands, params, rpcs, 0, 0, mod_init, 0, 0
};
