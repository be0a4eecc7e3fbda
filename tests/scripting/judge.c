/*
 * A package "presence" that decides about a watcher by its name: every status that pres_auth_status can give, for
 * tests/scripting.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "core/sr_module.h"
#include "core/dprint.h"
#include "modules/presence/bind_presence.h"

MODULE_VERSION

/* 1: everybody may watch, nobody is asked. */
static int open_to_all = 0;

static int is(const str *text, const char *name)
{
	return text->len == (int)strlen(name) && memcmp(text->s, name, text->len) == 0;
}

/* get_rules_doc: everybody has rules, but for "ruleless" and "broken". */
static int rules_of(str *user, str *domain, str **rules)
{
	*rules = NULL;
	if(is(user, "ruleless"))
		return 0;
	if(is(user, "broken"))
		return -1;
	*rules = pkg_malloc(sizeof(str));
	if(*rules == NULL)
		return -1;
	(*rules)->s = pkg_malloc(1);
	if((*rules)->s == NULL) {
		pkg_free(*rules);
		*rules = NULL;
		return -1;
	}
	(*rules)->s[0] = 'x';
	(*rules)->len = 1;
	return 1;
}

/* get_auth_status: the watcher's user names its status. */
static int judge(subs_t *subs)
{
	static str polite = str_init("polite-block");
	const str *user = &subs->watcher_user;

	subs->reason.s = NULL;
	subs->reason.len = 0;
	if(is(user, "active"))
		subs->status = ACTIVE_STATUS;
	else if(is(user, "pending"))
		subs->status = PENDING_STATUS;
	else if(is(user, "terminated"))
		subs->status = TERMINATED_STATUS;
	else if(is(user, "waiting"))
		subs->status = WAITING_STATUS;
	else if(is(user, "polite")) {
		subs->status = ACTIVE_STATUS;
		subs->reason = polite;
	} else
		return -1;
	return 0;
}

static int mod_init(void)
{
	presence_api_t presence;
	bind_presence_t bind = (bind_presence_t)find_export("bind_presence", 1, 0);
	pres_ev_t event;

	if(bind == NULL || bind(&presence) < 0) {
		LM_ERR("presence is not loaded before this module\n");
		return -1;
	}
	memset(&event, 0, sizeof(event));
	event.name.s = "presence";
	event.name.len = strlen(event.name.s);
	event.content_type.s = "text/plain";
	event.content_type.len = strlen(event.content_type.s);
	event.default_expires = 600;
	event.type = PUBL_TYPE;
	if(!open_to_all) {
		event.req_auth = 1;
		event.get_rules_doc = rules_of;
		event.get_auth_status = judge;
	}
	return presence.add_event(&event);
}

static param_export_t params[] = {
	{"open_to_all", PARAM_INT, &open_to_all},
	{0, 0, 0}
};

struct module_exports exports = {
	"judge",
	DEFAULT_DLFLAGS,
	0,        /* functions for routes */
	params,
	0,        /* RPC commands */
	0,        /* pseudo-variables */
	0,        /* replies */
	mod_init,
	0,        /* each process */
	0         /* the end */
};
